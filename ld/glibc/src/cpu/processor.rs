//! The processor as a source of facts: CPUID behind a trait, a memo before it, and who made the processor.

use alloc::vec::Vec;

use super::rules::Rules;

/// What the CPUID instruction leaves in the four registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuidResult {
    pub eax: u32,
    pub ebx: u32,
    pub ecx: u32,
    pub edx: u32,
}

impl From<core::arch::x86_64::CpuidResult> for CpuidResult {
    fn from(answer: core::arch::x86_64::CpuidResult) -> CpuidResult {
        CpuidResult { eax: answer.eax, ebx: answer.ebx, ecx: answer.ecx, edx: answer.edx }
    }
}

/// The operating system lets XGETBV be used: leaf 1, `ecx` (*Intel SDM volume 2, CPUID*).
pub const OSXSAVE: u32 = 1 << 27;

/// Where CPU facts come from: the instructions, or a record.
pub trait Processor {
    /// CPUID with `leaf` in `eax` and `subleaf` in `ecx`.
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult;
    /// XGETBV of XCR0; asked only where CPUID says that the system enabled it (OSXSAVE).
    fn xgetbv(&mut self) -> u64;
}

/// A processor that is asked each question once: in a virtual machine every CPUID leaves for the hypervisor.
pub struct Memo<P> {
    processor: P,
    /// Leaf and subleaf with the answer: of a dozen questions, or two.
    answers: Vec<(u32, u32, CpuidResult)>,
    xcr0: Option<u64>,
}

impl<P: Processor> Memo<P> {
    pub const fn new(processor: P) -> Memo<P> {
        Memo { processor, answers: Vec::new(), xcr0: None }
    }

    /// How many times the processor was really asked for a CPUID leaf.
    pub fn asked(&self) -> usize {
        self.answers.len()
    }

    pub(super) fn cpuid(&mut self, leaf: u32, subleaf: u32) -> CpuidResult {
        if let Some(&(.., answer)) = self.answers.iter().find(|&&(l, s, _)| (l, s) == (leaf, subleaf)) {
            return answer;
        }
        let answer = self.processor.cpuid(leaf, subleaf);
        self.answers.push((leaf, subleaf, answer));
        answer
    }

    pub(super) fn xcr0(&mut self) -> u64 {
        *self.xcr0.get_or_insert_with(|| self.processor.xgetbv())
    }
}

/// Whose rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vendor {
    Intel,
    Amd,
    Zhaoxin,
    Hygon,
    Other,
}

impl Vendor {
    /// By the name that leaf 0 spells in `ebx`, `edx`, `ecx`.
    fn of(leaf0: CpuidResult, rules: &Rules) -> Vendor {
        let mut name = [0; 12];
        for (four, register) in name.chunks_exact_mut(4).zip([leaf0.ebx, leaf0.edx, leaf0.ecx]) {
            four.copy_from_slice(&register.to_le_bytes());
        }
        match &name {
            b"GenuineIntel" => Vendor::Intel,
            b"AuthenticAMD" => Vendor::Amd,
            b"HygonGenuine" if rules.hygon_apart => Vendor::Hygon,
            b"HygonGenuine" => Vendor::Amd,
            b"CentaurHauls" | b"  Shanghai  " => Vendor::Zhaoxin,
            _ => Vendor::Other,
        }
    }

    /// `enum cpu_features_kind`, where 0 says that nothing was filled yet.
    pub fn kind(self, rules: &Rules) -> u32 {
        match self {
            Vendor::Intel => 1,
            Vendor::Amd => 2,
            Vendor::Zhaoxin => 3,
            Vendor::Hygon => 4,
            Vendor::Other => 4 + u32::from(rules.hygon_apart),
        }
    }
}

/// `struct cpu_features_basic`.
pub(super) struct Identity {
    pub vendor: Vendor,
    pub max_leaf: u32,
    pub family: u32,
    pub model: u32,
    pub stepping: u32,
}

/// `TopologyExtensions` in `ecx` of leaf 0x80000001: there are leaves 0x8000001d and 0x8000001e (*AMD APM volume 3, E.4.2*).
const TOPOLOGY_EXTENSIONS: u32 = 1 << 22;
const TOPOLOGY_LEAF: u32 = 0x8000_001e;

/// The leaf of 64-bit mode's own feature bits.
pub(super) const EXTENDED_FEATURES: u32 = 0x8000_0001;

impl Identity {
    pub fn read<P: Processor>(memo: &mut Memo<P>, rules: &Rules) -> Identity {
        let leaf0 = memo.cpuid(0, 0);
        let vendor = Vendor::of(leaf0, rules);
        let mut identity = Identity { vendor, max_leaf: leaf0.eax, family: 0, model: 0, stepping: 0 };
        if vendor == Vendor::Other {
            return identity;
        }
        let signature = memo.cpuid(1, 0).eax;
        let extended_model = (signature >> 12) & 0xf0;
        identity.family = (signature >> 8) & 0xf;
        identity.model = (signature >> 4) & 0xf;
        identity.stepping = signature & 0xf;
        if identity.family == 0xf {
            identity.family += (signature >> 20) & 0xff;
            identity.model += extended_model;
        }
        match vendor {
            Vendor::Intel if identity.family == 6 => identity.model += extended_model,
            // glibc declares a second `stepping` in its Zhaoxin branch, so the recorded one stays 0.
            Vendor::Zhaoxin => {
                identity.model += extended_model;
                identity.stepping = 0;
            }
            _ => {}
        }
        identity
    }

    /// Whether there is an extended leaf. glibc asks for the highest one, where it knows the vendor; this does so only where
    /// the answer does not follow from what is known: a processor in 64-bit mode has 0x80000001.
    pub fn has_extended<P: Processor>(&self, memo: &mut Memo<P>, leaf: u32) -> bool {
        match self.vendor {
            Vendor::Other => false,
            _ if leaf <= EXTENDED_FEATURES => true,
            Vendor::Amd | Vendor::Hygon
                if leaf <= TOPOLOGY_LEAF && memo.cpuid(EXTENDED_FEATURES, 0).ecx & TOPOLOGY_EXTENSIONS != 0 =>
            {
                true
            }
            _ => memo.cpuid(0x8000_0000, 0).eax >= leaf,
        }
    }
}
