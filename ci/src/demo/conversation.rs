//! Talk with a running program: send a line, wait for the answer, look at the process while it waits for the next.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long a program may think about one line.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that was started and waits for lines.
pub struct Conversation {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    answers: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    said: String,
}

/// What a program left when it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub output: String,
    pub errors: String,
    pub status: ExitStatus,
}

impl Conversation {
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let mut errors = child.stderr.take().context("standard error is a pipe")?;
        let (sender, answers) = channel();
        thread::spawn(move || {
            let mut lines = BufReader::new(output);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            // What was read before an error is what there is.
            drop(errors.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        let input = child.stdin.take();
        Ok(Self { name, child, input, answers, errors: Some(errors), said: String::new() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a line and waits for one line of answer. The process then waits for the next.
    pub fn ask(&mut self, line: &str) -> Result<String> {
        let sent = self.input.as_mut().context("the program still listens")?.write_all(format!("{line}\n").as_bytes());
        match self.answers.recv_timeout(PATIENCE) {
            Ok(answer) => {
                sent.with_context(|| format!("{} does not listen", self.name))?;
                self.said.push_str(&answer);
                Ok(answer.trim_end().to_owned())
            }
            Err(RecvTimeoutError::Timeout) => bail!("{} gave no answer in {} s", self.name, PATIENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait()?;
                let errors = self.errors();
                bail!("{} ended ({status}) instead of answering: {}", self.name, errors.trim_end())
            }
        }
    }

    /// Sends the last lines, closes the program's input and waits until it ends.
    pub fn finish(mut self, lines: &[&str]) -> Result<Outcome> {
        let mut input = self.input.take().context("the program still listens")?;
        for line in lines {
            // A program may end before it read all; its status and output then say so.
            drop(input.write_all(format!("{line}\n").as_bytes()));
        }
        drop(input);
        loop {
            match self.answers.recv_timeout(PATIENCE) {
                Ok(answer) => self.said.push_str(&answer),
                Err(RecvTimeoutError::Timeout) => bail!("{} does not end", self.name),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait()?;
        Ok(Outcome { output: std::mem::take(&mut self.said), errors: self.errors(), status })
    }

    fn errors(&mut self) -> String {
        self.errors.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        // Both fail when the program has ended already, as it should.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_answers_and_ends() {
        let mut cat = Conversation::start(&mut Command::new("cat")).unwrap();
        assert_eq!(cat.ask("one").unwrap(), "one");
        let outcome = cat.finish(&["two"]).unwrap();
        assert_eq!(outcome.output, "one\ntwo\n");
        assert!(outcome.status.success());
    }

    #[test]
    fn a_program_that_ends_early_is_an_error_with_its_words() {
        let mut shell = Conversation::start(Command::new("sh").args(["-c", "echo no >&2; exit 9"])).unwrap();
        let error = shell.ask("one").unwrap_err().to_string();
        assert!(error.contains("exit status: 9") && error.contains("no"), "{error}");
    }
}
