//! Files of this machine as the passes ask for them: opened and checked as the interpreter does, and read instead of mapped.
//!
//! What is read stays in memory as long as the command: an object's tables are views over its file, and a second plan of
//! the same program reads nothing again.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

use folio_elf::header::program_headers;
use folio_elf::{FileHeader, HeaderError, Image, Segment, Vaddr};
use folio_link::graph::{self, Source};
use folio_link::object::{Identity, directory_of};
use folio_link::placement::Placement;
use folio_link::search::{Files, OpenError};
use folio_link::{Errno, Problem};

/// Where ldconfig(8) keeps what it found.
pub const CACHE: &str = "/etc/ld.so.cache";

/// What has been read of the file system so far.
#[derive(Debug, Default)]
pub struct Disk {
    cache: Option<Option<Vec<u8>>>,
    files: HashMap<(u64, u64), &'static [u8]>,
    pub directories_asked: usize,
}

/// A file whose ELF header was checked.
#[derive(Debug)]
pub struct OpenFile {
    bytes: &'static [u8],
    header: FileHeader,
    identity: Identity,
    mode: u32,
    owner: u32,
}

fn absent(error: &std::io::Error) -> OpenError<Problem> {
    OpenError::Absent(error.raw_os_error().unwrap_or(Errno::ENOENT.0))
}

fn unreadable(error: &std::io::Error) -> OpenError<Problem> {
    OpenError::Failed(Problem::Read(Errno(error.raw_os_error().unwrap_or(0))))
}

impl Files for Disk {
    type File = OpenFile;
    type Error = Problem;

    fn open(&mut self, path: &[u8]) -> Result<OpenFile, OpenError<Problem>> {
        // Somebody may have put a pipe there that nobody writes to.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(OsStr::from_bytes(path))
            .map_err(|error| absent(&error))?;
        let status = file.metadata().map_err(|error| unreadable(&error))?;
        let identity = Identity { device: status.dev(), inode: status.ino() };
        let key = (identity.device, identity.inode);
        let bytes = match self.files.get(&key) {
            Some(bytes) => bytes,
            None => {
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
                let bytes: &'static [u8] = bytes.leak();
                self.files.insert(key, bytes);
                bytes
            }
        };
        let header = FileHeader::decode(bytes).map_err(|error| match error {
            HeaderError::OtherClass => OpenError::OtherClass,
            HeaderError::OtherMachine => OpenError::OtherMachine,
            error => OpenError::Failed(Problem::Header(error)),
        })?;
        Ok(OpenFile { bytes, header, identity, mode: status.mode(), owner: status.uid() })
    }

    fn is_directory(&mut self, path: &[u8]) -> bool {
        self.directories_asked += 1;
        fs::metadata(OsStr::from_bytes(path)).is_ok_and(|status| status.is_dir())
    }

    fn cache(&mut self) -> Option<&[u8]> {
        self.cache.get_or_insert_with(|| fs::read(CACHE).ok()).as_deref()
    }

    fn is_set_user_id(&mut self, file: &OpenFile) -> bool {
        const S_ISUID: u32 = 0o4000;
        file.mode & S_ISUID != 0
    }

    fn owner(&mut self, file: &OpenFile) -> u32 {
        file.owner
    }
}

impl Disk {
    /// An object's image over the bytes of its file.
    pub fn place(&self, file: OpenFile) -> Result<(Placement, Image<'static>), Problem> {
        let cut = Problem::Read(Errno(0));
        let start = usize::try_from(file.header.phoff).map_err(|_| cut.clone())?;
        let end = start.checked_add(file.header.phsize()).ok_or(cut.clone())?;
        let headers = program_headers(file.bytes.get(start..end).ok_or(cut)?);
        let placement =
            Placement::plan(&file.header, headers.clone(), file.bytes.len() as u64).map_err(Problem::Placement)?;
        let nothing = Segment { start: Vaddr(0), size: 0, memory: 0, writable: false };
        let storage = vec![nothing; placement.segments.len()].leak();
        Ok((placement, Image::of_file(file.bytes, headers.filter(|header| header.p_memsz != 0), storage)))
    }
}

impl Source<'static> for Disk {
    fn identity(&self, file: &OpenFile) -> Identity {
        file.identity
    }

    fn map(&mut self, file: OpenFile) -> Result<(Placement, Image<'static>), Problem> {
        let (placement, image) = self.place(file)?;
        graph::require_library(&placement)?;
        Ok((placement, image))
    }

    fn unmap(&mut self, _start: Vaddr, _span: u64, _image: Image<'static>) {
        // Nothing was mapped.
    }

    fn origin(&mut self, path: &[u8]) -> Vec<u8> {
        if path.starts_with(b"/") {
            return directory_of(path).to_vec();
        }
        let mut origin =
            std::env::current_dir().map(|folder| folder.as_os_str().as_bytes().to_vec()).unwrap_or_default();
        if path.contains(&b'/') {
            origin.push(b'/');
            origin.extend_from_slice(directory_of(path));
        }
        origin
    }
}
