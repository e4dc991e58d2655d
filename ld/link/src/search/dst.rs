//! Dynamic string tokens: `$ORIGIN`, `$LIB` and `$PLATFORM` in path lists and library names.
//!
//! Sources: ld.so(8), "Dynamic string tokens"; gABI chapter 5, "Substitution Sequences"; glibc elf/dl-load.c, `is_dst` and
//! `_dl_dst_substitute`. A `$` that starts no known token is an ordinary character. A known token without a value (the
//! origin of an object that cannot be told, a platform that the kernel does not name) makes the whole string useless.

use alloc::borrow::Cow;
use alloc::vec::Vec;

/// The values of the tokens for one object, and what AT_SECURE demands of them.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// `$ORIGIN`: the directory of the object, absolute, without a slash at the end; `None` when it cannot be told.
    pub origin: Option<&'a [u8]>,
    /// `$LIB`: `lib/x86_64-linux-gnu` on Debian, `lib64` elsewhere.
    pub lib: &'a [u8],
    /// `$PLATFORM`: AT_PLATFORM, unless glibc refined it (`haswell`).
    pub platform: Option<&'a [u8]>,
    /// When AT_SECURE is set: which results of `$ORIGIN` are trusted.
    pub secure: Option<Trust<'a>>,
}

/// What a set-user-ID program may do with `$ORIGIN`.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// The string is one of the executable: whoever makes a hard link to the program chooses its origin, so the result must
    /// lie in one of these directories.
    Within(&'a [&'a [u8]]),
    /// The string is one of a library, which was itself found in a trusted way.
    Library,
}

#[derive(Clone, Copy)]
enum Token {
    Origin,
    Lib,
    Platform,
}

impl Tokens<'_> {
    /// Replaces the tokens in one path or name; `None` when the string cannot be used.
    pub fn expand<'s>(&self, input: &'s [u8]) -> Option<Cow<'s, [u8]>> {
        if !contains_token(input) {
            return Some(Cow::Borrowed(input));
        }
        let mut result = Vec::with_capacity(input.len() + self.origin.map_or(0, <[u8]>::len));
        let mut has_origin = false;
        let mut at = 0;
        while let Some(&byte) = input.get(at) {
            at += 1;
            let Some((token, length)) = token(byte, &input[at..]) else {
                result.push(byte);
                continue;
            };
            let value = match token {
                Token::Origin => {
                    // Set-user-ID programs may use $ORIGIN as the first component of a path only.
                    let whole_component = at == 1 && matches!(input.get(at + length), None | Some(b'/'));
                    if self.secure.is_some() && !whole_component {
                        return None;
                    }
                    has_origin = true;
                    self.origin?
                }
                Token::Lib => self.lib,
                Token::Platform => self.platform?,
            };
            result.extend_from_slice(value);
            at += length;
        }
        if let Some(Trust::Within(directories)) = self.secure
            && has_origin
            && !lies_within(&result, directories)
        {
            return None;
        }
        (!result.is_empty()).then_some(Cow::Owned(result))
    }
}

/// Whether a string has any known token, so that the origin of its object must be found out.
pub fn contains_token(input: &[u8]) -> bool {
    input.iter().enumerate().any(|(at, &byte)| token(byte, &input[at + 1..]).is_some())
}

/// `$ORIGIN` of the object at an absolute path: its directory.
pub fn origin_of(path: &[u8]) -> &[u8] {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(0) => b"/",
        Some(slash) => &path[..slash],
        None => b"",
    }
}

/// The token that stands behind a `$`, and its length without the `$`.
///
/// The longest identifier counts: `$LIBRARY` holds no `$LIB`. Braces must close directly behind the name.
fn token(byte: u8, behind: &[u8]) -> Option<(Token, usize)> {
    if byte != b'$' {
        return None;
    }
    let (braces, text) = match behind.strip_prefix(b"{") {
        Some(text) => (2, text),
        None => (0, behind),
    };
    const NAMES: [(&[u8], Token); 3] =
        [(b"ORIGIN", Token::Origin), (b"PLATFORM", Token::Platform), (b"LIB", Token::Lib)];
    let (name, token) = NAMES.into_iter().find(|(name, _)| text.starts_with(name))?;
    let ends = match text.get(name.len()) {
        next if braces > 0 => next == Some(&b'}'),
        Some(next) => !(next.is_ascii_alphanumeric() || *next == b'_'),
        None => true,
    };
    ends.then_some((token, name.len() + braces))
}

/// Whether an absolute path, its `.` and `..` resolved as text, lies in one of the directories.
fn lies_within(path: &[u8], directories: &[&[u8]]) -> bool {
    if !path.starts_with(b"/") {
        return false;
    }
    let mut components: Vec<&[u8]> = Vec::new();
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => drop(components.pop()),
            _ => components.push(component),
        }
    }
    directories.iter().any(|directory| {
        let mut components = components.iter();
        directory
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty())
            .all(|part| components.next() == Some(&part))
    })
}

#[cfg(test)]
#[path = "dst_tests.rs"]
mod tests;
