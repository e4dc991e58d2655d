//! What searches say of themselves: for each library that was asked for, which files were tried and why each was not it.

use folio_elf::Lossy;
use folio_link::Errno;
use folio_link::object::{Object, ObjectId, Objects};
use folio_link::search::{Observe, Redirect, Reference, Refusal, Rule};
use serde::Serialize;

/// One library that was asked for when no loaded object answered to its name.
#[derive(Clone, Debug)]
pub struct Request {
    pub name: Vec<u8>,
    pub requester: Vec<u8>,
    pub reference: Reference,
    pub attempts: Vec<Attempt>,
    /// The file that was opened.
    pub path: Option<Vec<u8>>,
    /// It was a file that is loaded already, under another name.
    pub is_known: bool,
}

/// A file that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Attempt {
    pub path: String,
    pub rule: &'static str,
    /// Why it is not the library; nothing for the one that is.
    pub refused: Option<String>,
}

impl Request {
    /// Files that were tried in vain.
    pub fn wasted(&self) -> usize {
        self.attempts.iter().filter(|attempt| attempt.refused.is_some()).count()
    }

    /// The rule that led to the file.
    pub fn rule(&self) -> Option<&'static str> {
        self.attempts.last().filter(|attempt| attempt.refused.is_none()).map(|attempt| attempt.rule)
    }
}

/// The eyes on the searches of one start.
pub struct Searches {
    program: Vec<u8>,
    pub requests: Vec<Request>,
}

impl Searches {
    pub fn new(program: &[u8]) -> Searches {
        Searches { program: program.to_vec(), requests: Vec::new() }
    }
}

/// The rules by the names that ld.so(8) has for them.
fn rule_name(rule: Rule) -> &'static str {
    match rule {
        Rule::Direct => "path in the name",
        Rule::Rpath => "DT_RPATH",
        Rule::LibraryPath => "LD_LIBRARY_PATH",
        Rule::Runpath => "DT_RUNPATH",
        Rule::Cache => "ld.so.cache",
        Rule::Default => "system folder",
    }
}

impl Observe for Searches {
    fn wanted(&mut self, objects: &Objects, name: &[u8], requester: ObjectId, reference: Reference) -> Redirect {
        self.requests.push(Request {
            name: name.to_vec(),
            requester: objects[requester].display_name(&self.program).to_vec(),
            reference,
            attempts: Vec::new(),
            path: None,
            is_known: true,
        });
        Redirect::Keep
    }

    fn mapped(&mut self, _name: &[u8], object: &Object) {
        if let Some(request) = self.requests.last_mut() {
            request.path = Some(object.path.clone());
            request.is_known = false;
        }
    }

    fn trying(&mut self, path: &[u8], rule: Rule) -> Redirect {
        if let Some(request) = self.requests.last_mut() {
            request.path = Some(path.to_vec());
            request.attempts.push(Attempt { path: Lossy(path).to_string(), rule: rule_name(rule), refused: None });
        }
        Redirect::Keep
    }

    fn refused(&mut self, path: &[u8], rule: Rule, reason: Refusal) {
        let Some(request) = self.requests.last_mut() else { return };
        request.path = None;
        let reason = match reason {
            Refusal::Absent(errno) => Errno(errno).to_string(),
            Refusal::OtherClass => "a 32-bit file".to_owned(),
            Refusal::OtherMachine => "a file for another machine".to_owned(),
            Refusal::Failed => "not a usable ELF file".to_owned(),
            Refusal::ForeignOwner => "neither root's nor of the program's owner".to_owned(),
            Refusal::NotSetUserId => "not set-user-ID, as the program is".to_owned(),
            Refusal::NoDefaultLibraries => "in a system folder, which DF_1_NODEFLIB excludes".to_owned(),
        };
        match request.attempts.last_mut().filter(|last| last.refused.is_none() && last.path.as_bytes() == path) {
            Some(last) => last.refused = Some(reason),
            // The cache's answer can be refused before it is tried.
            None => request.attempts.push(Attempt {
                path: Lossy(path).to_string(),
                rule: rule_name(rule),
                refused: Some(reason),
            }),
        }
    }
}
