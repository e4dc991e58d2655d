//! Every model, in every way; then every model with each fault that can be made in what it runs.

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use folio_models::mutant::{self, Mutant};
use folio_models::{ALL, Model, PREEMPTIONS, WRONG, explore};

/// The variable that tells a process of this program which fault to make.
const FAULT: &str = "FOLIO_MODEL_FAULT";

/// A model with a fault that goes on for so long never ends: that is found, too.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |model: &&Model| wanted.is_empty() || wanted.iter().any(|word| model.name.contains(&**word));
    if let Ok(fault) = env::var(FAULT) {
        mutant::make(&fault);
        ALL.iter().chain(WRONG).filter(is_wanted).for_each(|model| {
            explore(model, PREEMPTIONS);
        });
        return ExitCode::SUCCESS;
    }
    let preemptions = env::var("FOLIO_MODEL_PREEMPTIONS")
        .map_or(PREEMPTIONS, |number| number.parse().expect("FOLIO_MODEL_PREEMPTIONS is a number"));
    let mut reached: BTreeMap<Mutant, Vec<&Model>> = BTreeMap::new();
    for model in ALL.iter().filter(is_wanted) {
        let begin = Instant::now();
        print!("{:30} ", model.name);
        std::io::stdout().flush().expect("output is read");
        let executions = explore(model, preemptions);
        println!("{executions:7} executions in {:.1} s", begin.elapsed().as_secs_f64());
        for fault in mutant::take_possible() {
            reached.entry(fault).or_default().push(model);
        }
    }
    let begin = Instant::now();
    let mut unnoticed = 0;
    let faults = reached.iter().map(|(fault, models)| (fault.to_string(), models.clone()));
    let wrong = WRONG.iter().filter(is_wanted).map(|model| (mutant::NONE.to_owned(), vec![model]));
    for (fault, models) in faults.chain(wrong) {
        if !models.iter().any(|model| fails(model, &fault)) {
            println!("nobody notices: {fault} ({})", models[0].name);
            unnoticed += 1;
        }
    }
    println!(
        "{} faults, {unnoticed} unnoticed, in {:.1} s",
        reached.len() + WRONG.len(),
        begin.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(unnoticed > 0))
}

/// Whether a model fails, or never ends, in a process that makes the fault.
fn fails(model: &Model, fault: &str) -> bool {
    let mut child = Command::new(env::current_exe().expect("this program has a name"))
        .arg(model.name)
        .env(FAULT, fault)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("this program can be started");
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().expect("a child is waited for") {
            return !status.success();
        }
        if Instant::now() >= deadline {
            child.kill().expect("a child can be ended");
            child.wait().expect("a child is waited for");
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
