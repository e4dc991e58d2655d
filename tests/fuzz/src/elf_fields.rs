//! Where the fields of an ELF file are that decoders read, found without the decoders under test.

use crate::mutate::Random;

/// A number in a file.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    pub at: usize,
    pub width: usize,
}

impl Field {
    pub fn get(&self, file: &[u8]) -> u64 {
        let mut bytes = [0; 8];
        bytes[..self.width].copy_from_slice(&file[self.at..][..self.width]);
        u64::from_le_bytes(bytes)
    }

    pub fn put(&self, file: &mut [u8], value: u64) {
        file[self.at..][..self.width].copy_from_slice(&value.to_le_bytes()[..self.width]);
    }
}

/// Offsets and widths.
type Fields = &'static [(usize, usize)];

/// Records of one kind: where they begin, how many there are, their size, and their fields (gABI, chapters 4 and 5).
#[derive(Clone, Copy, Debug)]
struct Records {
    at: usize,
    count: usize,
    size: usize,
    fields: Fields,
}

const HEADER: Fields =
    &[(4, 1), (5, 1), (7, 1), (8, 1), (9, 1), (16, 2), (18, 2), (20, 4), (24, 8), (32, 8), (54, 2), (56, 2)];
const PROGRAM_HEADER: Fields = &[(0, 4), (4, 4), (8, 8), (16, 8), (32, 8), (40, 8), (48, 8)];
const DYNAMIC: Fields = &[(0, 8), (8, 8), (8, 8), (8, 8)];
const SYMBOL: Fields = &[(0, 4), (4, 1), (5, 1), (6, 2), (8, 8), (16, 8)];
const RELA: Fields = &[(0, 8), (8, 4), (12, 4), (16, 8)];
const WORD: Fields = &[(0, 4)];
const HALF: Fields = &[(0, 2)];
const LONG: Fields = &[(0, 8)];
const BYTE: Fields = &[(0, 1)];

const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_NOTE: u64 = 4;

/// Tables by the tags of their addresses (and of their sizes, if they have one).
const TABLES: &[(u64, Option<u64>, usize, Fields)] = &[
    (4, None, 4, WORD),
    (5, Some(10), 1, BYTE),
    (6, None, 24, SYMBOL),
    (7, Some(8), 24, RELA),
    (23, Some(2), 24, RELA),
    (25, Some(27), 8, LONG),
    (36, Some(35), 8, LONG),
    (0x6fff_fef5, None, 4, WORD),
    (0x6fff_fff0, None, 2, HALF),
    (0x6fff_fffc, None, 4, WORD),
    (0x6fff_fffe, None, 4, WORD),
];

fn get(file: &[u8], at: usize, width: usize) -> Option<u64> {
    (at.checked_add(width)? <= file.len()).then(|| Field { at, width }.get(file))
}

fn program_headers(file: &[u8]) -> Option<Records> {
    let at = get(file, 32, 8)? as usize;
    let count = get(file, 56, 2)? as usize;
    let count = count.min(file.len().checked_sub(at)? / 56);
    Some(Records { at, count, size: 56, fields: PROGRAM_HEADER })
}

fn with_type(file: &[u8], kind: u64) -> impl Iterator<Item = usize> + '_ {
    let headers = program_headers(file).into_iter();
    headers
        .flat_map(|headers| (0..headers.count).map(move |index| headers.at + 56 * index))
        .filter(move |&at| get(file, at, 4) == Some(kind))
}

/// File offset of an address.
fn offset(file: &[u8], address: u64) -> Option<usize> {
    with_type(file, PT_LOAD).find_map(|header| {
        let into = address.wrapping_sub(get(file, header + 16, 8)?);
        let at = get(file, header + 8, 8)?.wrapping_add(into) as usize;
        (into < get(file, header + 32, 8)? && at <= file.len()).then_some(at)
    })
}

fn dynamic(file: &[u8]) -> Option<Records> {
    let header = with_type(file, PT_DYNAMIC).next()?;
    let at = get(file, header + 8, 8)? as usize;
    let count = (get(file, header + 32, 8)? / 16) as usize;
    Some(Records { at, count: count.min(file.len().checked_sub(at)? / 16), size: 16, fields: DYNAMIC })
}

/// Where the entry of a tag is.
fn entry(file: &[u8], tag: u64) -> Option<usize> {
    let dynamic = dynamic(file)?;
    (0..dynamic.count).map(|index| dynamic.at + 16 * index).find(|&at| get(file, at, 8) == Some(tag))
}

fn table(file: &[u8], random: &mut Random) -> Option<Records> {
    let (tag, size_tag, size, fields) = random.one_of(TABLES);
    let at = offset(file, get(file, entry(file, tag)? + 8, 8)?)?;
    let bytes = match size_tag {
        Some(tag) => get(file, entry(file, tag)? + 8, 8)? as usize,
        None => 32 * size,
    };
    Some(Records { at, count: bytes.min(file.len().checked_sub(at)?) / size, size, fields })
}

fn records(file: &[u8], random: &mut Random) -> Option<Records> {
    match random.below(12) {
        0 => Some(Records { at: 0, count: usize::from(file.len() >= 64), size: 64, fields: HEADER }),
        1 | 2 => program_headers(file),
        3 | 4 => dynamic(file),
        5 => {
            let header = with_type(file, PT_NOTE).next()?;
            let at = get(file, header + 8, 8)? as usize;
            Some(Records { at, count: 8.min(file.len().checked_sub(at)? / 4), size: 4, fields: WORD })
        }
        _ => table(file, random),
    }
    .filter(|records| records.count > 0)
}

/// Some field of the file; `None` where it is too damaged to have any.
pub fn pick(file: &[u8], random: &mut Random) -> Option<Field> {
    let records = (0..8).find_map(|_| records(file, random))?;
    let (at, width) = random.one_of(records.fields);
    let at = records.at + records.size * random.below(records.count) + at;
    (at + width <= file.len()).then_some(Field { at, width })
}

/// Puts one record in the place of another, or of all that follow.
pub fn repeat(file: &mut [u8], random: &mut Random) -> Option<()> {
    let Records { at, count, size, .. } = records(file, random)?;
    let (from, to) = (random.below(count), random.below(count));
    let last = if random.once_in(3) { count - 1 } else { to };
    for place in to..=last {
        let end = at + size * (from + 1);
        if end.max(at + size * (place + 1)) <= file.len() {
            file.copy_within(end - size..end, at + size * place);
        }
    }
    Some(())
}

/// Makes a table long: copies of one of its records, behind the file's last segment, in the table's place.
pub fn grow(file: &mut Vec<u8>, copies: usize, random: &mut Random) -> Option<()> {
    let (tag, size_tag, size, _) = random.one_of(TABLES);
    let from = offset(file, get(file, entry(file, tag)? + 8, 8)?)?;
    // What tables begin with that say their own size stays: a chain may then run to the end of the segment.
    let head = if size_tag.is_some() { 0 } else { random.one_of(&[0, 16, 24, 32]) };
    let mut table = file.get(from..from + head)?.to_vec();
    let record = from + head + size * random.below(4);
    let record = file.get(record..record + size)?.to_vec();
    for _ in 0..copies {
        table.extend(&record);
    }
    replace(file, tag, &table)
}

/// Puts a table behind the file's last segment, which becomes as much longer, in the place of the one with this tag.
pub fn replace(file: &mut Vec<u8>, tag: u64, table: &[u8]) -> Option<()> {
    let segment = with_type(file, PT_LOAD).last()?;
    let (start, at) = (get(file, segment + 16, 8)?, get(file, segment + 8, 8)?);
    let address = entry(file, tag)? + 8;
    let size_tag = TABLES.iter().find(|(other, ..)| *other == tag).and_then(|(_, size_tag, ..)| *size_tag);
    file.resize(file.len().next_multiple_of(8), 0);
    let place = start.wrapping_add((file.len() as u64).checked_sub(at)?);
    file.extend(table);
    let whole = (file.len() as u64).checked_sub(at)?;
    for (field, value) in [(segment + 32, whole), (segment + 40, whole), (address, place)] {
        Field { at: field, width: 8 }.put(file, value);
    }
    if let Some(at) = size_tag.and_then(|tag| entry(file, tag)) {
        Field { at: at + 8, width: 8 }.put(file, table.len() as u64);
    }
    Some(())
}

/// The bytes from the table with this tag on, to the end of the file.
pub fn table_at(file: &[u8], tag: u64) -> Option<&[u8]> {
    file.get(offset(file, get(file, entry(file, tag)? + 8, 8)?)?..)
}

/// The value of the dynamic entry with this tag.
pub fn value(file: &[u8], tag: u64) -> Option<u64> {
    get(file, entry(file, tag)? + 8, 8)
}
