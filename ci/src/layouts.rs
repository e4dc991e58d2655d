//! `cargo xtask layouts`: the tables of glibc's private layouts, from a distribution's packages to Rust.
//!
//! A table is one JSON file for one glibc build, in `ld/glibc/layouts/`. Without options the command writes from these
//! the Rust tables that the loader is built with; `--check` fails when the tree holds anything else. With `--from` it
//! makes such a JSON file out of a libc6 package and its debug information.
//!
//! To support another glibc: unpack its libc6 and libc6-dbg into one folder, run
//! `cargo xtask layouts --from FOLDER --out ld/glibc/layouts/VERSION.json --label "DISTRIBUTION PACKAGE-VERSION"`, then
//! `cargo xtask layouts`, run the programs of the tests with that libc, and repeat the first command with `--proven`.

mod dwarf;
mod generate;
mod package;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use table::Table;

/// Generate the tables of glibc's private layouts
#[derive(clap::Args, Debug)]
pub struct Layouts {
    /// Change nothing; fail when the generated files differ from the tables
    #[arg(long, conflicts_with = "from")]
    check: bool,
    /// Make a table from this folder, which holds an unpacked libc6 and libc6-dbg (`/` for this machine's)
    #[arg(long, value_name = "FOLDER", requires = "out")]
    from: Option<PathBuf>,
    /// Where the table that --from makes goes
    #[arg(long, value_name = "FILE", requires = "from")]
    out: Option<PathBuf>,
    /// What the table is made from, for people
    #[arg(long, requires = "from")]
    label: Option<String>,
    /// Record that whole programs were run with this table
    #[arg(long, requires = "from")]
    proven: bool,
}

impl Layouts {
    pub fn run(&self) -> Result<()> {
        match (&self.from, &self.out) {
            (Some(from), Some(out)) => self.make(from, out),
            _ => generate_tree(&glibc_crate(), self.check),
        }
    }

    fn make(&self, from: &Path, out: &Path) -> Result<()> {
        let mut table = package::read(from)?;
        table.label.clone_from(&self.label);
        table.proven = self.proven;
        std::fs::write(out, table.to_json()?).with_context(|| format!("cannot write {}", out.display()))?;
        println!("{}: glibc {}, {} structures", out.display(), table.glibc, table.structs.len());
        Ok(())
    }
}

/// The folder of the crate that the tables belong to.
fn glibc_crate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ld/glibc")
}

/// Every table of the tree, by version.
fn tables(glibc: &Path) -> Result<Vec<Table>> {
    let folder = glibc.join("layouts");
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            tables.push(Table::read(&path)?);
        }
    }
    tables.sort_by_key(Table::version);
    Ok(tables)
}

/// Writes the Rust tables into the tree, or only compares them with it.
fn generate_tree(glibc: &Path, check: bool) -> Result<()> {
    let source = glibc.join("src");
    let files = generate::files(&tables(glibc)?)?;
    let mut stale = Vec::new();
    for (name, text) in &files {
        let path = source.join(name);
        if std::fs::read_to_string(&path).is_ok_and(|now| now == *text) {
            continue;
        }
        if !check {
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            println!("wrote {}", path.display());
        }
        stale.push(name.clone());
    }
    // A table whose JSON is gone must not linger.
    for entry in std::fs::read_dir(source.join("tables"))? {
        let path = entry?.path();
        let name = format!("tables/{}", path.file_name().unwrap_or_default().to_string_lossy());
        if !files.iter().any(|(known, _)| *known == name) {
            if !check {
                std::fs::remove_file(&path)?;
                println!("removed {}", path.display());
            }
            stale.push(name);
        }
    }
    if check && !stale.is_empty() {
        bail!("differ from the tables in ld/glibc/layouts, run `cargo xtask layouts`: {}", stale.join(", "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tree_is_what_the_tables_generate() {
        generate_tree(&glibc_crate(), true).unwrap();
    }

    #[test]
    fn check_notices_a_changed_and_a_left_over_file() {
        let copy = std::env::temp_dir().join(format!("folio-layouts-{}", std::process::id()));
        let (layouts, generated) = (copy.join("layouts"), copy.join("src/tables"));
        std::fs::create_dir_all(&layouts).unwrap();
        std::fs::create_dir_all(&generated).unwrap();
        for entry in std::fs::read_dir(glibc_crate().join("layouts")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, layouts.join(path.file_name().unwrap())).unwrap();
        }
        assert!(generate_tree(&copy, true).is_err());
        generate_tree(&copy, false).unwrap();
        generate_tree(&copy, true).unwrap();

        std::fs::write(generated.join("v2_1.rs"), "").unwrap();
        let left_over = generate_tree(&copy, true).unwrap_err().to_string();
        assert!(left_over.contains("tables/v2_1.rs"), "{left_over}");
        generate_tree(&copy, false).unwrap();

        let table = generated.join("v2_36.rs");
        let changed = std::fs::read_to_string(&table).unwrap().replacen("864", "865", 1);
        std::fs::write(&table, changed).unwrap();
        let stale = generate_tree(&copy, true).unwrap_err().to_string();
        assert!(stale.contains("tables/v2_36.rs"), "{stale}");
        std::fs::remove_dir_all(&copy).unwrap();
    }

    /// The table of the tree says what this machine's debug information says, value by value. A point release of a
    /// distribution, which has other build ids and addresses, must still have the same structures.
    #[test]
    fn debug_information_gives_the_table_of_the_tree() {
        let mut table = match package::read(Path::new("/")) {
            Ok(table) => table,
            Err(error) if is_missing(&error) && std::env::var_os("CI").is_none() => {
                return println!("skipped: no debug information of this machine's libc: {error:#}");
            }
            Err(error) => panic!("{error:#}"),
        };
        let known = tables(&glibc_crate()).unwrap().into_iter().find(|known| known.version() == table.version());
        let Some(known) = known else {
            return println!("skipped: no table is of this machine's glibc, {}", table.glibc);
        };
        let compared = known.structs.values().map(|shape| shape.fields.len()).sum::<usize>();
        for (name, shape) in &known.structs {
            assert_eq!(table.structs.get(name), Some(shape), "struct {name}");
        }
        assert_eq!((&table.enums, &table.l_info), (&known.enums, &known.l_info));
        if known.build_id == table.build_id {
            (table.label, table.proven) = (known.label.clone(), known.proven);
            assert!(table == known, "symbols, tunables or thread_db differ");
        }
        println!("glibc {}: compared {compared} fields", table.glibc);
    }

    fn is_missing(error: &anyhow::Error) -> bool {
        let not_found = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        error.downcast_ref().is_some_and(not_found)
            || error.chain().any(|cause| cause.downcast_ref().is_some_and(not_found))
    }
}
