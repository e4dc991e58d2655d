//! What thread checkers report, taken from what they print.

use folio_tests::interpreter::Interpreter;

/// One report.
pub struct Report {
    /// What is wrong, without numbers.
    kind: String,
    /// The innermost frame that is not the tool's own: its object, or its function where the tool knows the line instead.
    innermost: String,
    /// Whether the interpreter under test is in any of its stacks.
    pub names_loader: bool,
    pub text: String,
}

impl Report {
    /// What is the same whenever the same thing is reported.
    pub fn place(&self) -> String {
        format!("{} in {}", self.kind, self.innermost)
    }

    fn new(kind: &str, frames: &[Frame], text: &str, interpreter: &Interpreter) -> Report {
        let own = ["/vgpreload_", "libtsan.so"];
        let innermost = frames.iter().find(|frame| !own.iter().any(|own| frame.place.contains(own)));
        let [path, short] = [interpreter.path(), interpreter.short()].map(|path| path.display().to_string());
        // ThreadSanitizer names an object by the end of its path.
        let end = short.rsplit('/').next().unwrap_or_default();
        let is_loader = |frame: &&Frame| [&*path, &short, end].contains(&&*frame.place);
        Report {
            kind: without_numbers(kind),
            innermost: innermost.map(|frame| frame.place.clone()).unwrap_or_default(),
            names_loader: frames.iter().any(|frame| is_loader(&frame)),
            text: text.to_owned(),
        }
    }
}

struct Frame {
    place: String,
}

fn without_numbers(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| !word.contains(|letter: char| letter.is_ascii_digit()));
    words.collect::<Vec<_>>().join(" ")
}

/// The reports of the first process: a child of fork has new locks, which libc's fork made without helgrind's knowledge.
pub fn of_helgrind(said: &str, interpreter: &Interpreter) -> Vec<Report> {
    let Some(prefix) = said.lines().find_map(|line| Some(&line[..line.strip_prefix("==")?.find("==")? + 4])) else {
        return Vec::new();
    };
    let lines: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix(prefix))
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .collect();
    let is_rule = |line: &&str| line.starts_with("-----");
    lines
        .split(is_rule)
        .skip(1)
        .filter_map(|report| {
            let kind = report.iter().find(|line| !line.trim().is_empty())?;
            if announces_thread(kind) {
                return None;
            }
            let frames: Vec<Frame> = report.iter().filter_map(|line| helgrind_frame(line)).collect();
            (!frames.is_empty()).then(|| Report::new(kind, &frames, &report.join("\n"), interpreter))
        })
        .collect()
}

/// The stack of where a thread was made is shown before the first report that names it.
fn announces_thread(first: &str) -> bool {
    first.starts_with("Thread #") && first.ends_with("was created") || first.contains("is the program's root thread")
}

/// `   at 0x48E7D12: name (in /object)`, or `(file.c:12)`.
fn helgrind_frame(line: &str) -> Option<Frame> {
    let (word, rest) = line.trim_start().split_once(" 0x")?;
    let (_, frame) = rest.split_once(": ").filter(|_| word == "at" || word == "by")?;
    let (function, source) = frame.rsplit_once(" (").unwrap_or((frame, ""));
    let place = source.strip_prefix("in ").map_or(function, |object| object.trim_end_matches(')'));
    Some(Frame { place: place.to_owned() })
}

pub fn of_thread_sanitizer(said: &str, interpreter: &Interpreter) -> Vec<Report> {
    said.split("==================\n")
        .filter_map(|report| {
            let (_, kind) = report.lines().find_map(|line| line.split_once("WARNING: ThreadSanitizer: "))?;
            let frames: Vec<Frame> = report.lines().filter_map(sanitizer_frame).collect();
            Some(Report::new(kind, &frames, report, interpreter))
        })
        .collect()
}

/// `    #0 name file.c:12 (object+0x1234)`, perhaps with more in parentheses.
fn sanitizer_frame(line: &str) -> Option<Frame> {
    let line = line.trim_start().strip_prefix('#')?;
    let (before, _) = line.rsplit_once("+0x")?;
    let (_, object) = before.rsplit_once('(')?;
    Some(Frame { place: object.to_owned() })
}
