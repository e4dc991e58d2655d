//! Run a command under strace(1) and read the calls back as records.
//!
//! strace prints `name(argument, ...) = result`, and with `-y` each descriptor as `3</path/of/the/file>`.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::launch::apply_surroundings;

/// One system call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub arguments: Vec<String>,
    pub result: String,
    /// As strace wrote it.
    pub line: String,
}

/// The calls of a command's first process until it ended, and how it ended.
#[derive(Debug)]
pub struct Trace {
    pub calls: Vec<Call>,
    /// What the process ended with, in strace's words: `exited with 0`, `killed by SIGSEGV`.
    pub ending: String,
}

impl Call {
    /// A call with the line that strace would write.
    pub fn new(name: &str, arguments: Vec<String>, result: String) -> Self {
        let line = format!("{name}({}) = {result}", arguments.join(", "));
        Self { name: name.to_owned(), arguments, result, line }
    }

    /// The file that a descriptor argument stands for.
    pub fn descriptor(&self, index: usize) -> Option<&str> {
        descriptor(self.arguments.get(index)?)
    }

    /// A file name argument without its quotes.
    pub fn path(&self, index: usize) -> Option<&str> {
        self.arguments.get(index)?.strip_prefix('"')?.strip_suffix('"')
    }

    pub fn argument(&self, index: usize) -> &str {
        self.arguments.get(index).map_or("", String::as_str)
    }

    /// The file that the result, a new descriptor, stands for.
    pub fn opened(&self) -> Option<&str> {
        descriptor(&self.result)
    }

    /// `ENOENT` and the like.
    pub fn error(&self) -> Option<&str> {
        self.result.strip_prefix("-1 ")?.split(' ').next()
    }
}

fn descriptor(text: &str) -> Option<&str> {
    let (number, file) = text.split_once('<')?;
    number.parse::<u32>().ok()?;
    file.strip_suffix('>')
}

/// Runs the command under strace. The command's own output is thrown away; its input is empty.
pub fn trace(command: &Command) -> Result<Trace> {
    let mut strace = Command::new("strace");
    // The calls go to a pipe of their own: descriptor 2 is free once the command's errors are thrown away by sh.
    strace.args(["-y", "-s", "24", "-e", "signal=none", "--", "/bin/sh", "-c", "exec \"$@\" 2>/dev/null", "sh"]);
    strace.arg(command.get_program()).args(command.get_args());
    apply_surroundings(command, &mut strace);
    let output = strace
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .context("cannot start strace (Debian package strace)")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let program = command.get_program().to_string_lossy();
    // The shell that sets the output up is not part of the story: it begins where the shell becomes the program. The
    // first line is the start of that shell.
    let begin = format!("execve(\"{program}\", ");
    let mut lines = text.lines().skip(1).skip_while(|line| !(line.starts_with(&begin) && line.ends_with(" = 0")));
    match lines.next() {
        Some(first) => parse(std::iter::once(first).chain(lines)),
        None => bail!("strace did not see {program} start:\n{text}"),
    }
}

fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Trace> {
    let mut calls = Vec::new();
    for line in lines {
        if let Some(ending) = line.strip_prefix("+++ ") {
            return Ok(Trace { calls, ending: ending.trim_end_matches(" +++").to_owned() });
        }
        calls.extend(parse_call(line));
    }
    bail!("strace ended before the program")
}

fn parse_call(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    let arguments = split(arguments);
    Some(Call { name: name.to_owned(), arguments, result: result.to_owned(), line: line.to_owned() })
}

/// Splits at the commas that stand outside strings, structures and file names.
fn split(arguments: &str) -> Vec<String> {
    let (mut parts, mut part, mut depth, mut quoted, mut escaped) = (Vec::new(), String::new(), 0_u32, false, false);
    for letter in arguments.chars() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '(' | '[' | '{' | '<' if !quoted => depth += 1,
            // `=>` stands in structures and closes nothing.
            '>' if !quoted && part.ends_with('=') => {}
            ')' | ']' | '}' | '>' if !quoted => depth = depth.saturating_sub(1),
            ',' if !quoted && depth == 0 => {
                parts.push(std::mem::take(&mut part).trim().to_owned());
                continue;
            }
            _ => {}
        }
        part.push(letter);
    }
    if !part.trim().is_empty() || !parts.is_empty() {
        parts.push(part.trim().to_owned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_back() {
        let open = parse_call(r#"openat(AT_FDCWD</w, x>, "/lib/a,b.so", O_RDONLY|O_CLOEXEC) = 3</usr/lib/a,b.so>"#);
        let open = open.unwrap();
        assert_eq!((open.name.as_str(), open.arguments.len()), ("openat", 3));
        assert_eq!((open.path(1), open.opened()), (Some("/lib/a,b.so"), Some("/usr/lib/a,b.so")));
        let read = parse_call(r#"read(3</lib/c.so>, "\177ELF\",("..., 832) = 832"#).unwrap();
        assert_eq!((read.arguments.len(), read.descriptor(0)), (3, Some("/lib/c.so")));
        let missing = parse_call(r#"access("/etc/x", R_OK)      = -1 ENOENT (No such file or directory)"#).unwrap();
        assert_eq!(missing.error(), Some("ENOENT"));
        let end = parse_call("exit_group(0)                           = ?").unwrap();
        assert_eq!((end.arguments, end.result), (vec!["0".to_owned()], "?".to_owned()));
        assert_eq!(parse_call("--- stopped by SIGSTOP ---"), None);
    }

    #[test]
    fn a_trace_without_an_ending_is_an_error() {
        assert!(parse(["brk(NULL) = 0x5000"].into_iter()).is_err());
        let trace = parse(["brk(NULL) = 0x5000", "+++ exited with 3 +++"].into_iter()).unwrap();
        assert_eq!((trace.calls.len(), trace.ending.as_str()), (1, "exited with 3"));
    }
}
