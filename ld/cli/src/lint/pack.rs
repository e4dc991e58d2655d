//! The compact form of relative relocations (gABI, *Relocation*, `SHT_RELR`): which can take it, and what it comes to.

use super::library::{Library, Place};

/// Relative relocations that `DT_RELR` could hold: their places are whole, aligned words.
pub fn packable<'l>(library: &'l Library) -> impl Iterator<Item = &'l Place> {
    library.places.iter().filter(|place| {
        place.is_relative()
            && !place.is_packed
            && !place.is_call
            && place.at.is_multiple_of(8)
            && !library.is_constant(place.at)
    })
}

/// The words of a `DT_RELR` for these places, which are sorted, even, and different from each other.
pub fn encode(places: &[u64]) -> Vec<u64> {
    /// Words that one bitmap covers.
    const BITS: u64 = 63;
    let mut words = Vec::new();
    let mut places = places.iter().copied().peekable();
    while let Some(first) = places.next() {
        words.push(first);
        let mut base = first.wrapping_add(8);
        loop {
            let mut bitmap = 0u64;
            while let Some(place) = places.next_if(|&place| place - base < BITS * 8 && (place - base).is_multiple_of(8))
            {
                bitmap |= 1 << ((place - base) / 8);
            }
            if bitmap == 0 {
                break;
            }
            words.push(bitmap << 1 | 1);
            base = base.wrapping_add(BITS * 8);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use folio_elf::Vaddr;
    use folio_elf::{Image, Segment};

    use super::*;

    /// What the loader's own decoder makes of the words.
    fn decoded(words: &[u64]) -> Vec<u64> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let header = folio_elf::ProgramHeader {
            p_type: 1,
            p_flags: 4,
            p_offset: 0,
            p_vaddr: 0x1000,
            p_paddr: 0,
            p_filesz: bytes.len() as u64,
            p_memsz: bytes.len() as u64,
            p_align: 8,
        };
        let mut storage = [Segment { start: Vaddr(0), size: 0, memory: 0, writable: false }];
        let image = Image::of_file(&bytes, [header].into_iter(), &mut storage);
        let table = image.table(Vaddr(0x1000), words.len() as u64).unwrap();
        folio_elf::relocation::relr(table).map(|at| at.0).collect()
    }

    #[test]
    fn the_loader_reads_what_is_packed() {
        let dense: Vec<u64> = (0..200).map(|word| 0x4000 + word * 8).collect();
        let gaps: Vec<u64> = [0x1000, 0x1008, 0x11f8, 0x1200, 0x1208, 0x5000, 0x50f0, 0x9000].to_vec();
        let edges: Vec<u64> = (0..5).flat_map(|run| [run * 63 * 8 + 8, run * 63 * 8 + 63 * 8]).collect();
        for mut places in [dense, gaps, edges, vec![]] {
            places.sort_unstable();
            places.dedup();
            assert_eq!(decoded(&encode(&places)), places);
        }
    }

    #[test]
    fn a_table_of_pointers_takes_a_bit_each() {
        let table: Vec<u64> = (0..640).map(|word| 0x4000 + word * 8).collect();
        assert_eq!(encode(&table).len(), 1 + 639usize.div_ceil(63));
    }
}
