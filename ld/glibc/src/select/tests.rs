use super::*;

/// A libc that shows a chosen set of fingerprints.
struct Synthetic {
    build_id: Option<Vec<u8>>,
    defined: Vec<(&'static str, Vec<u8>)>,
    imported: Vec<&'static str>,
}

impl Synthetic {
    /// A libc that agrees with a table, under a build id that nobody knows.
    fn like(table: &Layout) -> Self {
        let mut libc = Synthetic { build_id: Some(vec![0xaa; 20]), defined: Vec::new(), imported: Vec::new() };
        let leaf = (Fingerprint::CpuidLeafCount.expected(table) - 1) as u8;
        let start = Fingerprint::RoCpuidLeaves.expected(table);
        libc.define("__x86_get_cpuid_feature_leaf", &{
            let mut code = vec![0x48, 0x8d, 0x05, 9, 0, 0, 0, 0x83, 0xff, leaf, 0x77, 21];
            code.extend([0x48, 0x8b, 0x05, 1, 2, 3, 0, 0x89, 0xff, 0x48, 0xc1, 0xe7, 5, 0x48, 0x8d, 0x84, 0x07]);
            code.extend(start.to_le_bytes());
            code
        });
        for fingerprint in Fingerprint::ALL {
            let expected = fingerprint.expected(table);
            match fingerprint.source() {
                Source::Version => libc.define("__nptl_version", format!("{}\0", table.version).as_bytes()),
                Source::ThreadDb(symbol) if symbol.contains("sizeof") => libc.define(symbol, &expected.to_le_bytes()),
                Source::ThreadDb(symbol) => {
                    libc.define(symbol, &[64u32, 1, expected].map(u32::to_le_bytes).concat());
                }
                Source::Member(function) => libc.define(function, &taking(expected)),
                Source::Exports(symbol) if expected == 1 => libc.define(symbol, &[]),
                Source::Imports(symbol) if expected == 1 => libc.imported.push(symbol),
                _ => {}
            }
        }
        libc
    }

    fn define(&mut self, symbol: &'static str, bytes: &[u8]) {
        self.defined.retain(|(known, _)| *known != symbol);
        self.defined.push((symbol, bytes.to_vec()));
    }
}

impl Libc for Synthetic {
    fn build_id(&self) -> Option<&[u8]> {
        self.build_id.as_deref()
    }

    fn bytes_at(&self, symbol: &str, max: usize) -> Option<&[u8]> {
        let (_, bytes) = self.defined.iter().find(|(known, _)| *known == symbol)?;
        Some(&bytes[..max.min(bytes.len())])
    }

    fn exports(&self, symbol: &str) -> bool {
        self.bytes_at(symbol, 0).is_some()
    }

    fn imports(&self, symbol: &str) -> bool {
        self.imported.contains(&symbol)
    }
}

/// `mov slot(%rip), %rdx; mov member(%rdx), %rax`
fn taking(member: u32) -> Vec<u8> {
    let mut code = vec![0x48, 0x8b, 0x15, 1, 2, 3, 0, 0x48, 0x8b, 0x82];
    code.extend(member.to_le_bytes());
    code
}

#[test]
fn every_table_is_found_by_its_fingerprints() {
    for table in &tables::ALL {
        let chosen = select(&Synthetic::like(table)).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        assert_eq!(chosen.label, table.label);
    }
}

#[test]
fn a_known_build_id_decides_alone() {
    let known: Vec<_> = tables::ALL.iter().filter(|table| !table.build_id.is_empty()).collect();
    assert!(known.len() >= 3 && known.iter().all(|table| table.proven));
    for table in known {
        let libc = Synthetic { build_id: Some(table.build_id.to_vec()), defined: vec![], imported: vec![] };
        assert_eq!(select(&libc).unwrap().label, table.label);
    }
    let empty = Synthetic { build_id: Some(vec![]), defined: vec![], imported: vec![] };
    assert!(select(&empty).is_err(), "an empty build id is not that of the tables that have none");
}

/// Whichever fingerprint changes, no table is chosen, unless another one agrees with all of them.
#[test]
fn one_difference_refuses() {
    for table in &tables::ALL {
        for fingerprint in Fingerprint::ALL {
            let mut libc = Synthetic::like(table);
            match fingerprint.source() {
                Source::Version => libc.define("__nptl_version", b"2.99\0"),
                Source::ThreadDb(symbol) => libc.define(symbol, &[1; 12]),
                Source::Member(function) => libc.define(function, &taking(0x7ff0)),
                Source::LeafCount | Source::LeafStart => libc.define("__x86_get_cpuid_feature_leaf", &taking(16)),
                Source::Exports(symbol) if libc.exports(symbol) => libc.defined.retain(|(known, _)| *known != symbol),
                Source::Exports(symbol) => libc.define(symbol, &[]),
                Source::Imports(symbol) if libc.imports(symbol) => libc.imported.retain(|known| *known != symbol),
                Source::Imports(symbol) => libc.imported.push(symbol),
            }
            let mismatch = select(&libc).expect_err("a libc that differs was accepted");
            assert!(mismatch.differences().any(|(different, ..)| different == fingerprint), "{mismatch}");
        }
    }
}

#[test]
fn a_mismatch_names_what_differs() {
    let mut libc = Synthetic::like(&tables::ALL[8]);
    libc.define("__nptl_version", b"2.44\0");
    libc.define("dlclose", &taking(912));
    libc.define("_dl_find_object", b"\xf3\x0f\x1e\xfa\xc3");
    let text = select(&libc).unwrap_err().to_string();
    assert_eq!(
        text,
        "libc 2.44 (build id aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa) fits no layout table; nearest 2.43 (Debian sid \
         2.43-7): version is 2.44, not 2.43; the member that _dl_find_object takes cannot be measured, not 888; the \
         member that dlclose takes is 912, not 904"
    );
}

#[test]
fn a_libc_of_another_age_is_told_in_brief() {
    let empty = Synthetic { build_id: None, defined: vec![], imported: vec![] };
    let mismatch = select(&empty).unwrap_err();
    let (text, count) = (mismatch.to_string(), mismatch.differences().count());
    assert!(count > NAMED && text.ends_with(&format!("; and {} more", count - NAMED)), "{text}");
    assert!(text.starts_with("libc fits no layout table; nearest "), "{text}");
}

#[test]
fn development_versions_are_no_release() {
    assert_eq!(number_of_release(b"2.36\0junk"), Some(2036));
    for text in ["2.42.9000\0", "2\0", "", "2.x\0", "2.1000\0", "\u{80}.1\0"] {
        assert_eq!(number_of_release(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn code_is_read_in_the_forms_that_compilers_choose() {
    // endbr64; mov slot(%rip), %rax; jmp *0x360(%rax)
    assert_eq!(decode::first_member(b"\xf3\x0f\x1e\xfa\x48\x8b\x05\xc1\x2f\x08\0\xff\xa0\x60\x03\0\0"), Some(0x360));
    // mov slot(%rip), %r11; mov 0x10(%rsp), %rdi; jmp *0x378(%r11)
    let upper = b"\x4c\x8b\x1d\0\0\0\0\x48\x8b\x7c\x24\x10\x41\xff\xa3\x78\x03\0\0";
    assert_eq!(decode::first_member(upper), Some(0x378));
    // mov slot(%rip), %r10; mov 0x388(%r10), %rax
    assert_eq!(decode::first_member(b"\x4c\x8b\x15\0\0\0\0\x49\x8b\x82\x88\x03\0\0"), Some(0x388));
    // The member of another register is not it, nor is a store.
    assert_eq!(decode::first_member(b"\x48\x8b\x15\0\0\0\0\x48\x8b\x80\x68\x03\0\0\x48\x89\x82\x68\x03\0\0"), None);
    assert_eq!(decode::first_member(b"\x48\x8b\x15\0\0\0\0\x48\x8b\x82\x68\x03"), None, "cut short");
}

/// What is installed measures as its own table, by build id and by fingerprints.
#[test]
fn installed_libcs_fit_their_tables() {
    for glibc in file::installed() {
        let Some(table) = file::table_of(&glibc) else { continue };
        let data = std::fs::read(&glibc.libc).unwrap();
        let libc = file::File::parse(&data);
        let by_build_id = libc.build_id() == Some(&*table.build_id);
        let measured = Fingerprint::ALL.map(|fingerprint| fingerprint.measure(&libc));
        let differences: Vec<_> = Mismatch::between(table, &measured).collect();
        assert!(differences.is_empty(), "{}: {differences:?}", table.label);
        println!("{}: {} (known build id: {by_build_id})", glibc.libc.display(), table.label);
    }
}

proptest::proptest! {
    /// No bytes make the decoder panic.
    #[test]
    fn decoding_is_total(code: Vec<u8>) {
        let _ = (decode::first_member(&code), decode::last_leaf(&code), decode::leaf_start(&code));
        let _ = number_of_release(&code);
    }
}
