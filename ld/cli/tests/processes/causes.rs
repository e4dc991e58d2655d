//! Why a page is private: a library of which every page is known, looked at in two processes.

use serde_json::Value;

use crate::workshop::{Workshop, folio, json};

/// Pages that are relocated, written, both, neither, zero at first, and constant; aligned so that nothing else is on them.
const LIBRARY: &str = r#"
#define PAGE __attribute__((aligned(4096)))
extern int outside;
static int target;
/* 512 relative relocations on one page. */
PAGE void *relocated[512] = { [0 ... 511] = &target };
/* One symbolic relocation, and a word that is written. */
PAGE struct { int *symbolic; long written[511]; } both = { &outside, { 1 } };
PAGE long counter[512] = { 1 };
PAGE long unchanged[512] = { 2 };
PAGE long zeros[1024];
PAGE const long constants[512] = { 3 };
long touch(void) {
    both.written[7]++;
    counter[300]++;
    zeros[600] = 1;
    return unchanged[0] + constants[0] + (relocated[5] == &target);
}
"#;

const PROGRAM: &str = r"
#include <unistd.h>
int outside;
long touch(void);
int main(void) { if (touch() != 6) return 1; pause(); }
";

/// Non-PIC code: each call and each access is a relocation in text.
const TEXT: &str = "extern int outside; int text(void) { return outside; }\n";

fn pages<'v>(survey: &'v Value, file: &str) -> Vec<&'v Value> {
    let all = survey["private_pages"].as_array().unwrap();
    all.iter().filter(|page| page["path"].as_str().unwrap().ends_with(file)).collect()
}

#[test]
fn each_private_page_has_its_cause() {
    let shop = Workshop::new("causes");
    let library = shop.shared_object(LIBRARY, "libpages.so", &["-O0", "-Wl,-z,norelro", "-Wl,-z,pack-relative-relocs"]);
    let program = shop.compile(PROGRAM, "program", &[library.to_str().unwrap(), "-Wl,-rpath,$ORIGIN"]);
    let survey = json(&folio(["share", "-n", "2", "--pages", "--json", program.to_str().unwrap()]), 0);
    let pages = pages(&survey, "/libpages.so");
    let written = |symbol: &str| -> Vec<&Value> {
        let page = |page: &&&Value| page["written"].as_array().unwrap().iter().any(|name| name == symbol);
        let found: Vec<&Value> = pages.iter().filter(page).copied().collect();
        assert_eq!(found.len(), 2, "{symbol} in both processes: {pages:#?}");
        found
    };
    for page in written("counter") {
        assert_eq!(
            (&page["cause"], &page["state"], &page["segment"]),
            (&"written".into(), &"private-dirty".into(), &"data".into())
        );
        assert_eq!(page["relocations"], serde_json::json!({}));
    }
    for page in written("both") {
        assert_eq!(page["cause"], "relocated-and-written", "{page}");
        assert_eq!(page["relocations"], serde_json::json!({ "64": 1 }), "{page}");
    }
    // 512 words of one page, in the packed form or in the plain one, as this machine's linker makes them.
    let whole = |page: &&&Value| page["relocations"].as_object().unwrap().values().any(|count| count == 512);
    let relocated: Vec<_> = pages.iter().filter(whole).collect();
    assert_eq!(relocated.len(), 2, "{pages:#?}");
    assert!(relocated.iter().all(|page| page["cause"] == "relocated" && page["written"] == serde_json::json!([])));
    let bss: Vec<_> = pages.iter().filter(|page| page["segment"] == "bss").collect();
    assert_eq!(bss.len(), 2, "one of two pages was written, in each process: {pages:#?}");
    assert!(bss.iter().all(|page| page["cause"] == "bss" && page["offset"].is_null()));
    let dirty = |page: &&&&Value| page["state"] == "private-dirty";
    let other: Vec<_> =
        pages.iter().filter(|page| page["segment"] != "data" && page["segment"] != "bss").collect::<Vec<_>>();
    assert_eq!(other.iter().filter(dirty).count(), 0, "text and constants are shared: {other:#?}");
}

#[test]
fn text_that_is_relocated_is_copied() {
    let shop = Workshop::new("textrel");
    let options = ["-shared", "-nostdlib", "-fno-pic", "-mcmodel=large", "-Wl,-z,notext", "-O1"];
    let library = shop.compile(TEXT, "libtext.so", &options);
    let program = "#include <unistd.h>\nint outside = 5;\nint text(void);\nint main(void) { if (text() != 5) return 1; pause(); }\n";
    let program = shop.compile(program, "program", &[library.to_str().unwrap(), "-Wl,-rpath,$ORIGIN"]);
    let survey = json(&folio(["share", "-n", "2", "--pages", "--json", program.to_str().unwrap()]), 0);
    let text: Vec<_> = pages(&survey, "/libtext.so").into_iter().filter(|page| page["segment"] == "text").collect();
    assert_eq!(text.len(), 2, "{text:#?}");
    for page in text {
        assert_eq!(page["cause"], "text-relocation", "{page}");
        assert_eq!(page["relocations"], serde_json::json!({ "64": 1 }), "{page}");
    }
}
