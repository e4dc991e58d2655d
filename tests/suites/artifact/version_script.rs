//! Reading a linker's version script, as far as `exports.map` uses the language: versions with `global:` and `local:`
//! lists of plain names, a parent, and C comments.

use anyhow::{Context, Result, bail, ensure};

/// One version and the names under it.
#[derive(Debug)]
pub struct Version {
    pub name: String,
    globals: Vec<String>,
}

impl Version {
    pub fn exports(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.globals.iter().map(|name| (self.name.clone(), name.clone()))
    }
}

pub fn parse(script: &str) -> Result<Vec<Version>> {
    let mut text = without_comments(script)?;
    let mut versions = Vec::new();
    while let Some(open) = text.find('{') {
        let name = text[..open].trim().to_owned();
        let close = text.find('}').with_context(|| format!("no end of version {name}"))?;
        ensure!(open < close && !name.is_empty(), "no name before {{ in {text:?}");
        versions.push(Version { globals: globals(&text[open + 1..close])?, name });
        let end = text[close..].find(';').context("no semicolon after a version")?;
        text.drain(..close + end + 1);
    }
    ensure!(text.trim().is_empty(), "after the last version: {text:?}");
    Ok(versions)
}

fn globals(body: &str) -> Result<Vec<String>> {
    let mut global = true;
    let mut names = Vec::new();
    for mut statement in body.split(';').map(str::trim) {
        for (label, is_global) in [("global:", true), ("local:", false)] {
            if let Some(rest) = statement.strip_prefix(label) {
                global = is_global;
                statement = rest.trim();
            }
        }
        if global && !statement.is_empty() {
            if statement.contains(['*', '?', ' ', ':', '"']) {
                bail!("not a plain name: {statement:?}");
            }
            names.push(statement.to_owned());
        }
    }
    Ok(names)
}

fn without_comments(script: &str) -> Result<String> {
    let mut text = String::new();
    let mut rest = script;
    while let Some((before, comment)) = rest.split_once("/*") {
        text += before;
        rest = comment.split_once("*/").context("a comment does not end")?.1;
    }
    Ok(text + rest)
}
