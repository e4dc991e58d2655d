//! A record stands in for its processor to the byte, and for no other; whatever is wrong with one makes it no record.

use proptest::prelude::*;

use super::super::samples;
use super::super::tests::Set;
use super::super::{CpuTunable, CpuTunables, Extent, Kernel, Memo, NoTunables, fill, isa_level};
use super::*;
use crate::tables;

const AUXILIARY: Auxiliary = Auxiliary { hwcap: 0x178b_fbff, hwcap2: 2, minsigstksz: 3376 };
const WRITTEN: u64 = 1_800_000_000;
const FILE: File = File { mode: 0o100_644, owner: 0, size: 1000, changed: WRITTEN as i64, in_memory: true };

/// A processor that nobody may ask.
struct Silent;

impl Processor for Silent {
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        panic!("{leaf:#x}.{subleaf:#x} is not on record");
    }

    fn xgetbv(&mut self) -> u64 {
        panic!("XCR0 is not on record");
    }
}

/// A processor that answers nothing but zeros.
struct Mute;

impl Processor for Mute {
    fn cpuid(&mut self, _: u32, _: u32) -> CpuidResult {
        CpuidResult::default()
    }

    fn xgetbv(&mut self) -> u64 {
        0
    }
}

fn record_of(processor: impl Processor) -> Vec<u8> {
    let (answers, xcr0) = survey(processor);
    encode(&Header { written: WRITTEN, boot: 7 << 64 | 8, auxiliary: AUXILIARY, xcr0 }, &answers)
}

/// What comes of a start with this processor: the levels, the structure, and all that follows.
fn start(processor: impl Processor, release: usize, kernel: &Kernel, tunables: &impl CpuTunables) -> String {
    let layout = &tables::ALL[release];
    let mut memo = Memo::new(processor);
    let levels = isa_level(&mut memo, tunables);
    let mut part = vec![0; usize::from(layout.cpu.size)];
    let mut whole = part.clone();
    let first = fill(layout, &mut memo, kernel, tunables, Extent::Libc, &mut part);
    let second = fill(layout, &mut memo, kernel, tunables, Extent::Whole, &mut whole);
    format!("{levels:?} {part:x?} {first:x?} {whole:x?} {second:x?}")
}

#[test]
fn a_record_stands_in_for_every_processor_under_every_release() {
    let sizes = &[(CpuTunable::NonTemporalThreshold, 0x4041)];
    let hwcaps: &[u8] = b"-AVX2,-XSAVEC,Prefer_ERMS";
    let tunables = [Set { hwcaps: None, sizes: &[] }, Set { hwcaps: Some(hwcaps), sizes }];
    for sample in samples::all() {
        // The sample itself objects to a second question for one leaf, which the survey must not ask.
        let bytes = record_of(sample.clone());
        let record = Record::decode(&bytes).unwrap();
        for (release, tunables) in (0..tables::ALL.len()).flat_map(|at| tunables.iter().map(move |set| (at, set))) {
            for minsigstksz in [0, 3376] {
                let kernel = Kernel { hwcap2: 2, minsigstksz };
                assert_eq!(
                    start(Recorded::new(Some(record), Silent), release, &kernel, tunables),
                    start(sample.clone(), release, &kernel, tunables)
                );
            }
        }
    }
}

#[test]
fn what_is_not_on_record_is_asked() {
    let bytes = record_of(samples::zen_2());
    let record = Record::decode(&bytes).unwrap();
    let mut processor = Recorded::new(Some(record), samples::skylake_x().leaf(0x1234, 5, [1, 2, 3, 4]));
    assert_eq!(processor.cpuid(0x1234, 5).edx, 4);
    assert_eq!(processor.cpuid(0, 0), samples::zen_2().cpuid(0, 0));
    assert_eq!(Recorded::new(None, samples::zen_2()).cpuid(0, 0), samples::zen_2().cpuid(0, 0));
    let without_xsave = record_of(samples::core_2());
    let record = Record::decode(&without_xsave).unwrap();
    assert_eq!(Recorded::new(Some(record), samples::zen_2()).xgetbv(), 7);
}

#[test]
fn a_record_says_what_was_written() {
    let bytes = record_of(samples::sapphire_rapids());
    let record = Record::decode(&bytes).unwrap();
    let header = Header { written: WRITTEN, boot: 7 << 64 | 8, auxiliary: AUXILIARY, xcr0: 0x600e7 };
    assert_eq!(*record.header(), header);
    let (answers, _) = survey(samples::sapphire_rapids());
    assert_eq!(record.answers().collect::<Vec<_>>(), answers);
    assert!(answers.len() > 20 && bytes.len() <= MAX_SIZE);
}

#[test]
fn every_damage_is_seen() {
    let bytes = record_of(samples::zen_2());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let expected = if at < MAGIC.len() { Refusal::Format } else { Refusal::Checksum };
            assert_eq!(Record::decode(&damaged).err(), Some(expected), "byte {at}");
        }
        assert!(Record::decode(&bytes[..at]).is_err(), "the first {at} bytes");
        assert!(Record::decode(&bytes[at + 1..]).is_err(), "without the first {at} bytes");
    }
    let answer = Answer { leaf: 0, subleaf: 0, registers: CpuidResult::default() };
    let too_many = encode(Record::decode(&bytes).unwrap().header(), &[answer; MAX_ANSWERS + 1]);
    assert_eq!(Record::decode(&too_many).err(), Some(Refusal::Format));
}

#[test]
fn a_record_holds_for_its_processor_alone() {
    let bytes = record_of(samples::zen_2());
    let record = Record::decode(&bytes).unwrap();
    assert_eq!(record.holds(&FILE, &AUXILIARY, || 7), Ok(()));
    let unread = || -> u64 { panic!("XGETBV may be no instruction here") };
    for auxiliary in [
        Auxiliary { hwcap: AUXILIARY.hwcap ^ 1 << 28, ..AUXILIARY },
        Auxiliary { hwcap2: 0, ..AUXILIARY },
        Auxiliary { minsigstksz: 2032, ..AUXILIARY },
        Auxiliary { minsigstksz: 0, ..AUXILIARY },
    ] {
        assert_eq!(record.holds(&FILE, &auxiliary, unread), Err(Refusal::Auxiliary));
    }
    assert_eq!(record.holds(&FILE, &AUXILIARY, || 0xe7), Err(Refusal::State));
    for changed in [WRITTEN as i64 - 3, WRITTEN as i64 + 3, -1, i64::MAX, i64::MIN] {
        assert_eq!(record.holds(&File { changed, ..FILE }, &AUXILIARY, unread), Err(Refusal::Copied));
    }
    assert_eq!(record.holds(&File { changed: WRITTEN as i64 + 2, ..FILE }, &AUXILIARY, || 7), Ok(()));

    // A kernel that does not say how large the state is tells too little, even if it did not say so before either.
    let (answers, xcr0) = survey(samples::zen_2());
    let auxiliary = Auxiliary { minsigstksz: 0, ..AUXILIARY };
    let bytes = encode(&Header { written: WRITTEN, boot: 0, auxiliary, xcr0 }, &answers);
    assert_eq!(Record::decode(&bytes).unwrap().holds(&FILE, &auxiliary, unread), Err(Refusal::Auxiliary));

    let bytes = record_of(samples::core_2());
    assert_eq!(Record::decode(&bytes).unwrap().holds(&FILE, &AUXILIARY, unread), Ok(()), "it has no XCR0");
}

#[test]
fn only_roots_files_and_the_users_own_count() {
    let accept = |file: File, user| file.accept(user);
    assert_eq!(accept(FILE, None), Ok(1000));
    assert_eq!(accept(FILE, Some(1000)), Ok(1000));
    let own = File { owner: 1000, ..FILE };
    assert_eq!(accept(own, Some(1000)), Ok(1000));
    assert_eq!(accept(own, Some(0)), Err(Refusal::Owner(1000)));
    assert_eq!(accept(own, None), Err(Refusal::Owner(1000)), "set-user-ID programs trust root alone");
    assert_eq!(accept(File { mode: 0o100_664, ..FILE }, None), Err(Refusal::Writable(0o664)));
    assert_eq!(accept(File { mode: 0o100_602, ..FILE }, None), Err(Refusal::Writable(0o602)));
    for kind in [0o040_000, 0o010_000, 0o120_000, 0o020_000, 0] {
        assert_eq!(accept(File { mode: kind | 0o600, ..FILE }, None), Err(Refusal::NotAFile));
    }
    assert_eq!(accept(File { in_memory: false, ..FILE }, None), Err(Refusal::NotInMemory));
    for size in [MAX_SIZE as u64 + 1, u64::MAX] {
        assert_eq!(accept(File { size, ..FILE }, None), Err(Refusal::Format));
    }
}

#[test]
fn the_number_of_the_processor_is_no_difference() {
    let answer =
        |leaf, ebx, edx| Answer { leaf, subleaf: 0, registers: CpuidResult { ebx, edx, ..Default::default() } };
    let same = |one: Answer, other: Answer| one.of_any_processor() == other.of_any_processor();
    assert!(same(answer(1, 0x0110_0800, 1), answer(1, 0x0210_0800, 1)));
    assert!(!same(answer(1, 0x0110_0800, 1), answer(1, 0x0111_0800, 1)));
    assert!(same(answer(0xb, 4, 1), answer(0xb, 4, 2)));
    assert!(!same(answer(7, 0, 1), answer(7, 0, 2)));
}

proptest! {
    /// With a right checksum, anything may be in a record: it is read, and what follows is sound.
    #[test]
    fn any_content_gives_a_start(words in prop::collection::vec(any::<u32>(), 0..6 * 140), release in 0..tables::ALL.len()) {
        let answers: Vec<Answer> = words.chunks_exact(6).map(|words| Answer {
            // Leaves that are asked for.
            leaf: words[0] & 0x8000_001f,
            subleaf: words[1] & 3,
            registers: CpuidResult { eax: words[2], ebx: words[3], ecx: words[4], edx: words[5] },
        }).collect();
        let header = Header { written: 0, boot: 0, auxiliary: AUXILIARY, xcr0: 7 };
        let bytes = encode(&header, &answers);
        let decoded = Record::decode(&bytes);
        prop_assert_eq!(decoded.is_ok(), answers.len() <= MAX_ANSWERS);
        if let Ok(record) = decoded {
            start(Recorded::new(Some(record), Mute), release, &Kernel::default(), &NoTunables);
        }
    }
}
