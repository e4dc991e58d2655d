//! Notes (gABI, *Note Section*): the build id.

/// `NT_GNU_BUILD_ID`.
const NT_GNU_BUILD_ID: u32 = 3;

/// The build id in the bytes of a `PT_NOTE` segment.
pub fn build_id(notes: &[u8]) -> Option<&[u8]> {
    let mut rest = notes;
    while let Some((header, tail)) = rest.split_first_chunk::<12>() {
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (namesz, descsz) = (word(0) as usize, word(4) as usize);
        let name = tail.get(..namesz)?;
        let after_name = tail.get(namesz.checked_next_multiple_of(4)?..)?;
        let description = after_name.get(..descsz)?;
        if word(8) == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(description);
        }
        rest = after_name.get(descsz.checked_next_multiple_of(4)?..)?;
    }
    None
}

#[cfg(test)]
#[path = "note_tests.rs"]
mod tests;
