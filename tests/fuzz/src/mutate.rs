//! Changes inputs: single bytes and numbers anywhere, and in ELF files the fields and tables that decoders read.

use crate::archive::Archive;
use crate::elf_fields::{self, Field};
use crate::{Shape, Target};

/// Numbers that are the same in every run (Steele, Lea, Flood: *Fast Splittable Pseudorandom Number Generators*, SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Changes an input of a target, which grows to `most` bytes at most.
pub fn mutate(shape: Shape, input: &mut Vec<u8>, most: usize, random: &mut Random) {
    match shape {
        Shape::Bytes => mutate_bytes(input, random),
        Shape::Object => mutate_object(input, most, random),
        Shape::Archive => {
            let mut archive = Archive::read(input);
            mutate_archive(&mut archive, most.saturating_sub(input.len()), random);
            *input = archive.write();
        }
    }
    input.truncate(most);
}

/// As [`mutate`], where libFuzzer keeps the input; `fallback` is its own mutator.
pub fn in_place(
    target: &Target,
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    fallback: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let mut random = Random(seed.into());
    if random.once_in(if target.shape == Shape::Bytes { 2 } else { 16 }) {
        return fallback(data, size, max_size);
    }
    let mut input = data[..size].to_vec();
    for _ in 0..=random.below(3) {
        mutate(target.shape, &mut input, max_size, &mut random);
    }
    data[..input.len()].copy_from_slice(&input);
    input.len()
}

fn mutate_archive(archive: &mut Archive, room: usize, random: &mut Random) {
    let Some(last) = archive.files.len().checked_sub(1) else {
        return archive.files.push(Vec::new());
    };
    match random.below(24) {
        0 => archive.settings[0] ^= 1 << random.below(8),
        1 if last > 0 => archive.files.swap(random.below(last), random.below(last)),
        2 if last > 1 => drop(archive.files.remove(random.below(last))),
        3 if last < 8 && archive.files[last / 2].len() < room => {
            let copy = archive.files[last / 2].clone();
            archive.files.insert(last, copy);
        }
        4 => mutate_bytes(&mut archive.files[last], random),
        _ => {
            let file = &mut archive.files[random.below(last.max(1))];
            let most = file.len() + room;
            mutate_object(file, most, random);
        }
    }
}

fn mutate_object(file: &mut Vec<u8>, most: usize, random: &mut Random) {
    match random.below(40) {
        0 => mutate_bytes(file, random),
        1 => file.truncate(random.below(file.len() + 1)),
        2..=4 => {
            let copies = most.saturating_sub(file.len()) / 16;
            let _ = elf_fields::grow(file, copies.min(1 << random.below(12)), random);
        }
        5..=8 => drop(elf_fields::repeat(file, random)),
        _ => {
            let (Some(field), Some(other)) = (elf_fields::pick(file, random), elf_fields::pick(file, random)) else {
                return mutate_bytes(file, random);
            };
            let value = near(field.get(file), other.get(file), file.len(), random);
            field.put(file, value);
        }
    }
}

/// A number in the place of `old`: one that is likely to be at some bound.
fn near(old: u64, other: u64, size: usize, random: &mut Random) -> u64 {
    match random.below(12) {
        0 => 0,
        1 => random.below(8) as u64,
        2 => old.wrapping_add(random.one_of(&[1, 2, 4, 8, 16, 24, 0x1000])),
        3 => old.wrapping_sub(random.one_of(&[1, 2, 4, 8, 16, 24, 0x1000])),
        4 => old ^ 1 << random.below(64),
        5 | 6 => other,
        7 => (size as u64).wrapping_add(random.below(33) as u64).wrapping_sub(16),
        8 => random.below(size.max(1)) as u64,
        9 => u64::MAX << random.below(64),
        10 => u64::MAX >> random.below(64),
        _ => random.number(),
    }
}

fn mutate_bytes(bytes: &mut Vec<u8>, random: &mut Random) {
    if bytes.is_empty() {
        return bytes.push(random.number() as u8);
    }
    let at = random.below(bytes.len());
    match random.below(8) {
        0 => bytes[at] = random.number() as u8,
        1 => bytes[at] ^= 1 << random.below(8),
        2 => bytes.insert(at, random.one_of(b"\0:;/$=., \n#-x9")),
        3 => drop(bytes.remove(at)),
        4 => bytes.truncate(at),
        5 => {
            let from = random.below(bytes.len());
            let length = random.below(64).min(bytes.len() - from);
            let copy = bytes[from..from + length].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            let width = random.one_of(&[2, 4, 8]);
            let field = Field { at: at / width * width, width };
            if field.at + width <= bytes.len() {
                let value = near(field.get(bytes), random.number(), bytes.len(), random);
                field.put(bytes, value);
            }
        }
    }
}
