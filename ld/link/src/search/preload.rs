//! Splits lists of libraries to preload: `LD_PRELOAD`, `--preload` and `/etc/ld.so.preload`.
//!
//! Sources: ld.so(8), "LD_PRELOAD" and "/etc/ld.so.preload"; glibc elf/rtld.c, `handle_preload_list` and `dl_main`.

/// Longer elements of a list are passed over (`PATH_MAX`).
const LONGEST_PATH: usize = 4096;
/// Longer names are not taken from the environment of a set-user-ID program (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// The elements of `LD_PRELOAD` or `--preload`: separated by spaces and colons.
///
/// When AT_SECURE is set, elements with a slash are left out.
pub fn split_list(list: &[u8], secure: bool) -> impl Iterator<Item = &[u8]> {
    list.split(|byte| matches!(byte, b' ' | b':'))
        .filter(|name| !name.is_empty() && name.len() < LONGEST_PATH)
        .filter(move |name| !secure || (name.len() < LONGEST_NAME && !name.contains(&b'/')))
}

/// The elements of `/etc/ld.so.preload`: separated by white space and colons; a `#` makes the rest of the line a comment.
///
/// A NUL, which no file name can hold, separates too.
pub fn split_file(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
        .map(|line| line.split(|&byte| byte == b'#').next().unwrap_or(&[]))
        .flat_map(|line| line.split(|byte| matches!(byte, b' ' | b'\t' | b':' | 0)))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str, secure: bool) -> Vec<&str> {
        split_list(text.as_bytes(), secure).map(|name| str::from_utf8(name).unwrap()).collect()
    }

    #[test]
    fn list_splits_at_spaces_and_colons() {
        assert_eq!(list("liba.so:/x/libb.so  libc.so:", false), ["liba.so", "/x/libb.so", "libc.so"]);
        assert_eq!(list(" : ", false), [""; 0]);
        // A tab is part of a name here, unlike in the file.
        assert_eq!(list("a\tb", false), ["a\tb"]);
        assert_eq!(list(&"x".repeat(4096), false), [""; 0]);
    }

    #[test]
    fn secure_programs_take_bare_names_only() {
        assert_eq!(list("./a.so b.so /c.so", true), ["b.so"]);
        assert_eq!(list(&"x".repeat(255), true), [""; 0]);
    }

    #[test]
    fn file_has_comments() {
        let text = b"# all of this is a comment\n/lib/a.so # b.so\n\tc.so:d.so\n\ne.so#f.so\ng.so";
        let names: Vec<_> = split_file(text).map(|name| str::from_utf8(name).unwrap()).collect();
        assert_eq!(names, ["/lib/a.so", "c.so", "d.so", "e.so", "g.so"]);
    }
}
