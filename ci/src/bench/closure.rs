//! A generated closure: programs that need many libraries, each of which defines functions and refers to those of others.
//!
//! Nothing of it comes from the distribution, so what its start costs changes with the linker alone. The libraries are
//! written in assembly language and need no libc, which lets one set of them serve the linkers of every libc. Half of a
//! library's relocations are relative ones in a table of pointers, and half are bindings, in equal parts of the table's
//! pointers and of calls through the PLT; two in five of them are to the library's own functions, which is what `-Bsymbolic`
//! decides at link time.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};

use super::stage::succeed;

/// How large a closure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    pub libraries: usize,
    /// That each library defines; it binds as many.
    pub symbols: usize,
}

/// How its libraries are linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Variant {
    Plain,
    Symbolic,
    /// Relative relocations packed (gABI, `DT_RELR`).
    Relr,
    BindNow,
}

impl Variant {
    pub const ALL: [Self; 4] = [Self::Plain, Self::Symbolic, Self::Relr, Self::BindNow];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "closure",
            Self::Symbolic => "closure -Bsymbolic",
            Self::Relr => "closure RELR",
            Self::BindNow => "closure BIND_NOW",
        }
    }

    /// Arguments of the link editor.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Plain => &["-z", "lazy"],
            Self::Symbolic => &["-z", "lazy", "-Bsymbolic"],
            Self::Relr => &["-z", "lazy", "-z", "pack-relative-relocs"],
            Self::BindNow => &["-z", "now"],
        }
    }
}

impl Shape {
    /// A library refers to its own functions and to those of a few that come before it.
    fn neighbours(self, library: usize) -> Vec<usize> {
        let mut neighbours: Vec<usize> =
            [library.checked_sub(1), library.checked_sub(2)].into_iter().flatten().collect();
        neighbours.extend([library / 2, library / 3].into_iter().filter(|other| *other < library));
        neighbours.sort_unstable();
        neighbours.dedup();
        neighbours
    }

    /// What a library binds: pairs of a library and one of its functions.
    fn references(self, library: usize) -> Vec<(usize, usize)> {
        let neighbours = self.neighbours(library);
        (0..self.symbols)
            .map(|reference| {
                // Steps that share no factor with the numbers of symbols in use visit all of them in a scattered order.
                let symbol = (reference * 97 + library * 31) % self.symbols;
                if neighbours.is_empty() || reference % 5 < 2 {
                    (library, symbol)
                } else {
                    (neighbours[reference % neighbours.len()], symbol)
                }
            })
            .collect()
    }

    /// What a function of the closure returns.
    fn value(self, (library, symbol): (usize, usize)) -> u32 {
        (library * self.symbols + symbol) as u32
    }

    /// What all libraries answer together: each calls one function through its table and one through its PLT.
    pub fn answer(self) -> u32 {
        let answer = |library| {
            let references = self.references(library);
            self.value(references[0]).wrapping_add(self.value(references[self.symbols - 1]))
        };
        (0..self.libraries).map(answer).fold(0, u32::wrapping_add)
    }

    /// The source of one library.
    fn assembly(self, library: usize) -> String {
        let mut text = String::from("\t.text\n");
        let name = |(library, symbol): (usize, usize)| format!("library_{library:03}_function_{symbol:03}");
        let function = |text: &mut String, name: &str, body: &str| {
            let _infallible =
                write!(text, "\t.globl {name}\n\t.type {name},@function\n{name}:\n{body}\t.size {name},.-{name}\n");
        };
        for symbol in 0..self.symbols {
            let value = self.value((library, symbol));
            function(&mut text, &name((library, symbol)), &format!("\tmovl ${value},%eax\n\tret\n"));
        }
        let references = self.references(library);
        let (pointers, calls) = references.split_at(self.symbols / 2);
        let calls: String = calls.iter().map(|callee| format!("\tcall {}@PLT\n", name(*callee))).collect();
        function(&mut text, &format!("library_{library:03}_calls"), &format!("{calls}\tret\n"));
        let last = name(references[self.symbols - 1]);
        let answer = format!(
            "\tpushq %rbx\n\tcall *.Ltable(%rip)\n\tmovl %eax,%ebx\n\tcall {last}@PLT\n\taddl %ebx,%eax\n\tpopq %rbx\n\tret\n"
        );
        function(&mut text, &format!("library_{library:03}_answer"), &answer);
        text += "\t.section .data.rel.ro,\"aw\"\n\t.balign 8\n.Ltable:\n";
        for pointer in pointers {
            let _infallible = writeln!(text, "\t.quad {}", name(*pointer));
        }
        // Pointers to a local label are relative relocations.
        for index in 0..self.symbols {
            let _infallible = writeln!(text, "\t.quad .Ltable+{}", index * 8);
        }
        text += "\t.section .note.GNU-stack,\"\",@progbits\n";
        text
    }

    /// The source of a program that prints what all libraries answer.
    fn program(self) -> String {
        let mut text = String::from("#include <stdio.h>\n");
        for library in 0..self.libraries {
            let _infallible = writeln!(text, "unsigned library_{library:03}_answer(void);");
        }
        text += "int main(void)\n{\n\tunsigned answer = 0;\n";
        for library in 0..self.libraries {
            let _infallible = writeln!(text, "\tanswer += library_{library:03}_answer();");
        }
        text + "\tprintf(\"%u\\n\", answer);\n\treturn 0;\n}\n"
    }

    /// The source of a program without libc, whose status says whether all libraries answer as they must.
    fn bare_program(self) -> String {
        let mut text = String::from("\t.globl _start\n_start:\n\txorl %ebx,%ebx\n");
        for library in 0..self.libraries {
            let _infallible = writeln!(text, "\tcall library_{library:03}_answer@PLT\n\taddl %eax,%ebx");
        }
        let _infallible = write!(
            text,
            "\txorl %edi,%edi\n\tcmpl ${},%ebx\n\tsetne %dil\n\tmovl $231,%eax\n\tsyscall\n\
             \t.section .note.GNU-stack,\"\",@progbits\n",
            self.answer()
        );
        text
    }
}

/// The built files of one closure.
pub struct Closure {
    folder: PathBuf,
    shape: Shape,
}

impl Closure {
    /// Assembles the libraries' sources into a folder.
    pub fn assemble(folder: &Path, shape: Shape) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let libraries: Vec<usize> = (0..shape.libraries).collect();
        each(&libraries, |library| {
            let source = folder.join(format!("{library:03}.s"));
            fs::write(&source, shape.assembly(*library))?;
            succeed(Command::new("as").arg("-o").arg(object(folder, *library)).arg(&source))
        })?;
        fs::write(folder.join("program.c"), shape.program())?;
        fs::write(folder.join("bare.s"), shape.bare_program())?;
        succeed(Command::new("as").args(["-o", "bare.o", "bare.s"]).current_dir(folder))?;
        Ok(Self { folder: folder.to_owned(), shape })
    }

    /// Links the libraries, each against those before it that it refers to, and gives their folder.
    fn link(&self, variant: Variant) -> Result<PathBuf> {
        let folder = self.folder.join(variant.name().replace(' ', ""));
        fs::create_dir_all(&folder)?;
        for library in 0..self.shape.libraries {
            let name = library_name(library);
            let mut link = Command::new("ld");
            link.args([
                "-shared",
                "--hash-style=gnu",
                "-z",
                "relro",
                "-z",
                "noexecstack",
                "-soname",
                &name,
                "-o",
                &name,
            ]);
            link.args(variant.options()).arg(object(&self.folder, library)).current_dir(&folder);
            succeed(link.args(self.shape.neighbours(library).into_iter().map(library_name)))?;
        }
        Ok(folder)
    }

    /// Links the libraries of a variant, and a program for each of these compilers, in their order.
    pub fn programs(&self, variant: Variant, compilers: &[&str]) -> Result<Vec<PathBuf>> {
        let folder = self.link(variant)?;
        let program = |compiler: &&str| {
            let program = folder.join(format!("program-{compiler}"));
            let mut compile = Command::new(compiler);
            compile.args(["-O2", "-o"]).arg(&program).arg(self.folder.join("program.c")).args(self.libraries(&folder));
            compile.arg(format!("-Wl,--no-as-needed,-rpath,{},{}", folder.display(), variant.options().join(",")));
            succeed(&mut compile)?;
            Ok(program)
        };
        compilers.iter().map(program).collect()
    }

    /// Everything in one file that needs no linker but itself.
    pub fn static_pie(&self) -> Result<PathBuf> {
        let program = self.folder.join("static-pie");
        let objects = (0..self.shape.libraries).map(|library| object(&self.folder, library));
        let mut compile = Command::new("gcc");
        compile.args(["-O2", "-static-pie", "-o"]).arg(&program).arg(self.folder.join("program.c")).args(objects);
        succeed(&mut compile)?;
        Ok(program)
    }

    /// A program without libc.
    pub fn bare(&self, variant: Variant, interpreter: &Path) -> Result<PathBuf> {
        let folder = self.link(variant)?;
        let program = folder.join("program");
        let mut link = Command::new("ld");
        link.args(["-pie", "--hash-style=gnu", "-z", "relro", "-z", "noexecstack", "-dynamic-linker"]).arg(interpreter);
        link.arg("-rpath").arg(&folder).arg("-o").arg(&program).arg(self.folder.join("bare.o"));
        succeed(link.args(self.libraries(&folder)))?;
        Ok(program)
    }

    fn libraries(&self, folder: &Path) -> Vec<PathBuf> {
        (0..self.shape.libraries).map(|library| folder.join(library_name(library))).collect()
    }
}

fn object(folder: &Path, library: usize) -> PathBuf {
    folder.join(format!("{library:03}.o"))
}

fn library_name(library: usize) -> String {
    format!("liblibrary{library:03}.so")
}

/// Does something for each item, on all processors.
pub fn each<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = &work;
        let part = |first: usize| scope.spawn(move || items.iter().skip(first).step_by(threads).try_for_each(work));
        let parts: Vec<_> = (0..threads).map(part).collect();
        parts.into_iter().try_for_each(|part| part.join().map_err(|_| anyhow!("a thread panicked"))?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_refer_to_earlier_ones_only_and_bind_as_many_as_they_define() {
        let shape = Shape { libraries: 20, symbols: 50 };
        for library in 0..shape.libraries {
            let references = shape.references(library);
            assert_eq!(references.len(), shape.symbols);
            let mut own = 0;
            for (other, symbol) in references {
                assert!(symbol < shape.symbols && (other == library || shape.neighbours(library).contains(&other)));
                own += usize::from(other == library);
            }
            assert!(shape.neighbours(library).iter().all(|other| *other < library));
            assert_eq!(own, if library == 0 { shape.symbols } else { shape.symbols * 2 / 5 });
        }
    }
}
