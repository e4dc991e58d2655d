//! Target for records of CPU facts: their decoder, and what the rules for processors make of any facts that one may hold.

use folio_glibc::cpu::record::{self, Answer, Auxiliary, File, Header, Record, Recorded};
use folio_glibc::cpu::{self, CpuidResult, Extent, Kernel, Memo, NoTunables, Processor};
use folio_glibc::tables;

/// What a record says of itself, in words of 32 bits.
const HEADER: usize = 14;

/// A processor that answers nothing but zeros: one whose record lacks an answer.
struct Mute;

impl Processor for Mute {
    fn cpuid(&mut self, _: u32, _: u32) -> CpuidResult {
        CpuidResult::default()
    }

    fn xgetbv(&mut self) -> u64 {
        0
    }
}

/// The bytes are a record, and the content of one whose checksum is right.
pub fn cpu_record(bytes: &[u8]) {
    if let Ok(record) = Record::decode(bytes) {
        assert!(bytes.len() <= record::MAX_SIZE);
        let answers: Vec<Answer> = record.answers().collect();
        assert_eq!(record::encode(record.header(), &answers), bytes);
        use_record(record);
    }
    let words: Vec<u32> = bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let Some((header, answers)) = words.split_at_checked(HEADER) else { return };
    let [written, boot_high, boot_low, hwcap, hwcap2, minsigstksz, xcr0] =
        std::array::from_fn(|at| u64::from(header[2 * at]) | u64::from(header[2 * at + 1]) << 32);
    let boot = u128::from(boot_high) << 64 | u128::from(boot_low);
    let header = Header { written, boot, auxiliary: Auxiliary { hwcap, hwcap2, minsigstksz }, xcr0 };
    let (answers, _) = answers.as_chunks();
    let answers = answers.iter().map(|&[leaf, subleaf, eax, ebx, ecx, edx]| Answer {
        leaf,
        subleaf,
        registers: CpuidResult { eax, ebx, ecx, edx },
    });
    let answers: Vec<Answer> = answers.collect();
    let encoded = record::encode(&header, &answers);
    let Ok(record) = Record::decode(&encoded) else {
        assert!(encoded.len() > record::MAX_SIZE);
        return;
    };
    assert!(*record.header() == header && record.answers().eq(answers));
    use_record(record);
}

/// A start by that record.
fn use_record(record: Record) {
    let header = record.header();
    // A time that no file can have is far from any.
    let changed = i64::try_from(header.written).unwrap_or(0);
    let file = File { mode: 0o100_644, owner: 0, size: 0, changed, in_memory: true };
    let is_known = header.auxiliary.minsigstksz != 0 && i64::try_from(header.written).is_ok();
    assert_eq!(record.holds(&file, &header.auxiliary, || header.xcr0).is_ok(), is_known);
    for layout in &tables::ALL {
        let mut memo = Memo::new(Recorded::new(Some(record), Mute));
        let mut out = vec![0; usize::from(layout.cpu.size)];
        cpu::isa_level(&mut memo, &NoTunables);
        cpu::fill(layout, &mut memo, &Kernel::default(), &NoTunables, Extent::Whole, &mut out);
        let at = usize::from(layout.cpu.non_temporal_threshold);
        let threshold = u64::from_ne_bytes(std::array::from_fn(|byte| out[at + byte]));
        // Below, memcpy runs off the end of what it copies.
        assert!(threshold >= 0x4040 && out[0] != 0);
    }
}
