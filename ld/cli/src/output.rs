//! Where results go: standard output as a table or as JSON, and news of a long run to a terminal.

use std::io::{self, IsTerminal, Write};

use anyhow::Result;
use clap::Args;
use serde::Serialize;

#[derive(Args, Clone, Copy, Debug)]
pub struct Output {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

impl Output {
    pub fn print(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        let result = if self.json {
            let text = serde_json::to_string_pretty(value)? + "\n";
            io::stdout().write_all(text.as_bytes())
        } else {
            // Colours go where somebody sees them, and nowhere else.
            anstream::stdout().write_all(text().as_bytes())
        };
        match result {
            // The reader has seen enough (`folio share … | head`).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => Ok(result?),
        }
    }
}

/// A line on a terminal that says what is being done, and that goes away. Nothing elsewhere.
pub struct Progress(bool);

impl Progress {
    pub fn new() -> Self {
        Self(io::stderr().is_terminal())
    }

    pub fn say(&self, what: &str) {
        if self.0 {
            eprint!("\r\x1b[K{what} …");
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.0 {
            eprint!("\r\x1b[K");
        }
    }
}
