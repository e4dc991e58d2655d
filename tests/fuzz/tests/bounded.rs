//! Every target for a while, without a fuzzer: the same inputs in each run, on whatever machine and toolchain.

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::time::Instant;

use folio_fuzz::mutate::{Random, mutate};
use folio_fuzz::{Target, hostile, targets};

folio_fuzz::count_steps!();

/// Inputs of each target, if `FOLIO_FUZZ_RUNS` does not say how many, and the largest input in bytes.
const RUNS: u64 = 3000;
const LARGEST: usize = 1 << 16;

fn main() -> ExitCode {
    let runs = std::env::var("FOLIO_FUZZ_RUNS").map_or(RUNS, |runs| runs.parse().expect("FOLIO_FUZZ_RUNS is a number"));
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut failed = 0;
    for target in targets::ALL
        .iter()
        .filter(|target| wanted.is_empty() || wanted.iter().any(|name| target.name.contains(&**name)))
    {
        let begin = Instant::now();
        match run(target, runs) {
            Ok((steps, memory)) => println!(
                "{:12} {runs} inputs in {:.1} s; at most {steps} steps and {memory} bytes a byte",
                target.name,
                begin.elapsed().as_secs_f64()
            ),
            Err(input) => {
                let path = std::env::temp_dir().join(format!("folio-fuzz-{}-failure", target.name));
                std::fs::write(&path, input).expect("the temporary directory may be written");
                println!("{:12} FAILED; the input is in {}", target.name, path.display());
                failed += 1;
            }
        }
    }
    for (name, input) in hostile::inputs().into_iter().filter(|_| wanted.is_empty()) {
        let begin = Instant::now();
        let cost = targets::link.check(&input);
        let size = input.len() as u64;
        println!(
            "{name:14} of {size} bytes in {:.1} s; {} steps and {} bytes a byte",
            begin.elapsed().as_secs_f64(),
            cost.steps / size,
            cost.memory / size
        );
    }
    ExitCode::from(u8::from(failed > 0))
}

/// Gives the largest cost for a byte of input, or an input that makes the target fail.
fn run(target: &Target, runs: u64) -> Result<(u64, u64), Vec<u8>> {
    let seeds = (target.seeds)();
    let mut most = (0, 0);
    let mut check = |input: Vec<u8>| -> Result<(), Vec<u8>> {
        let cost = panic::catch_unwind(AssertUnwindSafe(|| target.check(&input))).map_err(|_| input.clone())?;
        assert!(cost.steps > 0, "the build does not count steps: see .cargo/config.toml");
        let size = input.len().max(256) as u64;
        most = (most.0.max(cost.steps / size), most.1.max(cost.memory / size));
        Ok(())
    };
    seeds.iter().cloned().try_for_each(&mut check)?;
    for number in 0..runs {
        let mut random = Random(number);
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(12) {
            mutate(target.shape, &mut input, LARGEST, &mut random);
        }
        check(input)?;
    }
    Ok(most)
}
