//! Files on disk, as discovery asks for them: open, identify, read the header, map.
//!
//! # Safety
//! One block: a mapped file that was never seen by anybody else is given back.

use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::CStr;

use folio_elf::header::{ProgramHeader, program_headers};
use folio_elf::{FileHeader, HeaderError, Image, Vaddr};
use folio_link::graph::{self, Source};
use folio_link::object::{Identity, directory_of};
use folio_link::placement::Placement;
use folio_link::search::{Files, OpenError};
use folio_link::{Errno, Problem};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{Access, CWD, Mode, OFlags, access, fstat, openat, readlink, stat};
use rustix::io::{pread, read, retry_on_intr};

use crate::image::execstack;
use crate::image::map::{self, FileBytes};
use crate::profile::{Kind as Profiled, Span};

/// Where ldconfig(8) keeps what it found.
const CACHE: &CStr = c"/etc/ld.so.cache";

/// Bytes read with the first read: the ELF header and, in nearly all files, the program headers.
const FIRST_READ: usize = 1024;

/// The set-user-ID bit of a file's mode (inode(7)).
const S_ISUID: u32 = 0o4000;

/// An opened ELF file whose header was checked.
pub struct OpenFile {
    descriptor: OwnedFd,
    identity: Identity,
    size: u64,
    owner: u32,
    is_set_user_id: bool,
    header: FileHeader,
    program_headers: Vec<ProgramHeader>,
}

/// What has been read of the file system so far.
#[derive(Debug)]
pub struct Disk {
    cache: Option<Option<FileBytes>>,
    /// Where the last mapping of the start lies, that of a library or of ld.so.cache, or nothing yet: the next goes below.
    /// `None` in a running process, where gaps are as small as they may be.
    lowest: Option<u64>,
    /// The directory that the process started in, for relative `$ORIGIN`s.
    current_directory: Option<Vec<u8>>,
    /// Objects that ask for an executable stack are refused before they are mapped.
    pub refuses_executable_stacks: bool,
}

impl Disk {
    pub const fn new() -> Disk {
        Disk { cache: None, lowest: Some(0), current_directory: None, refuses_executable_stacks: false }
    }

    /// Discovery is over: gives the memory of ld.so.cache back. The next search that needs it reads the file as it is then.
    pub fn forget_cache(&mut self) {
        self.cache = None;
        self.lowest = None;
    }
}

/// Whether there is a file of that name.
pub fn exists(path: &CStr) -> bool {
    access(path, Access::EXISTS).is_ok()
}

/// The whole of a file in memory, shared with the page cache; `None` if it cannot be opened or is empty.
pub fn contents(path: &CStr) -> Option<FileBytes> {
    let descriptor = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = usize::try_from(fstat(&descriptor).ok()?.st_size).ok().filter(|&length| length > 0)?;
    map::file_bytes(descriptor.as_fd(), length)
}

/// Opens and checks the ELF file at `path`.
pub fn open(path: &[u8]) -> Result<OpenFile, OpenError<Problem>> {
    let mut span = Span::about(Profiled::Probe, || path);
    let absent = |errno: rustix::io::Errno| OpenError::Absent(errno.raw_os_error());
    let path = CString::new(path).map_err(|_| OpenError::Absent(Errno::ENOENT.0))?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    // Slow file systems let signals interrupt them (signal(7)).
    let descriptor = retry_on_intr(|| openat(CWD, &path, flags, Mode::empty())).map_err(absent)?;
    let unreadable = |errno: rustix::io::Errno| OpenError::Failed(Problem::Read(Errno(errno.raw_os_error())));
    let mut start = [0; FIRST_READ];
    let start_length =
        read_at_least(FileHeader::SIZE, &mut start, |rest, _| read(&descriptor, rest)).map_err(unreadable)?;
    let header = FileHeader::decode(&start[..start_length]).map_err(|error| match error {
        HeaderError::OtherClass => OpenError::OtherClass,
        HeaderError::OtherMachine => OpenError::OtherMachine,
        error => OpenError::Failed(Problem::Header(error)),
    })?;
    let size = header.phsize();
    let in_start = usize::try_from(header.phoff)
        .ok()
        .and_then(|offset| start[..start_length].get(offset..offset.checked_add(size)?));
    let program_headers = match in_start {
        Some(bytes) => program_headers(bytes).collect(),
        None => {
            let mut bytes = alloc::vec![0; size];
            let read = |rest: &mut [u8], done| pread(&descriptor, rest, header.phoff.saturating_add(done as u64));
            if read_at_least(size, &mut bytes, read).map_err(unreadable)? != size {
                return Err(OpenError::Failed(Problem::Read(Errno(0))));
            }
            program_headers(&bytes).collect()
        }
    };
    let status = fstat(&descriptor).map_err(|errno| OpenError::Failed(Problem::Status(Errno(errno.raw_os_error()))))?;
    span.turns_out(Profiled::Open);
    Ok(OpenFile {
        descriptor,
        identity: Identity { device: status.st_dev, inode: status.st_ino },
        size: u64::try_from(status.st_size).unwrap_or(0),
        owner: status.st_uid,
        is_set_user_id: status.st_mode & S_ISUID != 0,
        header,
        program_headers,
    })
}

/// Reads until `least` bytes are there or the file ends, and gives how many there are: a call may give fewer than it was asked
/// for, or be interrupted (read(2)). `read` is told how many it has given.
fn read_at_least(
    least: usize,
    buffer: &mut [u8],
    mut read: impl FnMut(&mut [u8], usize) -> rustix::io::Result<usize>,
) -> rustix::io::Result<usize> {
    let mut length = 0;
    while length < least {
        match retry_on_intr(|| read(&mut buffer[length..], length))? {
            0 => break,
            more => length += more,
        }
    }
    Ok(length)
}

impl OpenFile {
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The file's path as the kernel knows it, without symbolic links and `.`; `None` where proc(5) cannot tell.
    pub fn canonical_path(&self) -> Option<Vec<u8>> {
        let link = alloc::format!("/proc/self/fd/{}", self.descriptor.as_raw_fd());
        Some(readlink(link.as_str(), Vec::new()).ok()?.into_bytes())
    }

    /// Plans and makes the file's mappings.
    pub fn map(self) -> Result<(Placement, Image<'static>), Problem> {
        let placement = self.placement()?;
        let image = map::map(&placement, self.descriptor.as_fd())?;
        Ok((placement, image))
    }

    pub fn placement(&self) -> Result<Placement, Problem> {
        Placement::plan(&self.header, self.program_headers.iter().copied(), self.size).map_err(Problem::Placement)
    }
}

impl Files for Disk {
    type File = OpenFile;
    type Error = Problem;

    fn open(&mut self, path: &[u8]) -> Result<OpenFile, OpenError<Problem>> {
        open(path)
    }

    fn is_directory(&mut self, path: &[u8]) -> bool {
        const S_IFMT: u32 = 0o170_000;
        const S_IFDIR: u32 = 0o040_000;
        CString::new(path)
            .ok()
            .and_then(|path| stat(&path).ok())
            .is_some_and(|status| status.st_mode & S_IFMT == S_IFDIR)
    }

    fn cache(&mut self) -> Option<&[u8]> {
        let Disk { cache, lowest, .. } = self;
        let open = || {
            let _span = Span::of(Profiled::Cache);
            let bytes = contents(CACHE)?;
            if let Some(lowest @ 0) = lowest {
                *lowest = bytes.start();
            }
            Some(bytes)
        };
        cache.get_or_insert_with(open).as_deref()
    }

    fn is_set_user_id(&mut self, file: &OpenFile) -> bool {
        file.is_set_user_id
    }

    fn owner(&mut self, file: &OpenFile) -> u32 {
        file.owner
    }
}

impl Source<'static> for Disk {
    fn identity(&self, file: &OpenFile) -> Identity {
        file.identity()
    }

    fn map(&mut self, file: OpenFile) -> Result<(Placement, Image<'static>), Problem> {
        crate::reserve_memory(1)?;
        let placement = file.placement()?;
        graph::require_library(&placement)?;
        if self.refuses_executable_stacks && execstack::is_wanted_in(&placement) {
            return Err(Problem::ExecutableStack(Errno::EINVAL));
        }
        let image = match &mut self.lowest {
            Some(lowest) => map::map_below(lowest, &placement, file.descriptor.as_fd()),
            None => map::map(&placement, file.descriptor.as_fd()),
        }?;
        Ok((placement, image))
    }

    fn unmap(&mut self, start: Vaddr, span: u64, image: Image<'static>) {
        // SAFETY: mapped just now, and nobody kept anything of it.
        #[allow(unsafe_code)]
        unsafe {
            map::unmap_object(start, span, image);
        }
    }

    fn origin(&mut self, path: &[u8]) -> Vec<u8> {
        if path.starts_with(b"/") {
            return directory_of(path).to_vec();
        }
        let current = self
            .current_directory
            .get_or_insert_with(|| rustix::process::getcwd(Vec::new()).map(CString::into_bytes).unwrap_or_default());
        let mut origin = current.clone();
        if path.contains(&b'/') {
            origin.push(b'/');
            origin.extend_from_slice(directory_of(path));
        }
        origin
    }
}

/// The user whose file the program is; root where proc(5) cannot tell.
#[cold]
pub fn program_owner() -> u32 {
    stat(c"/proc/self/exe").map_or(0, |status| status.st_uid)
}

/// The whole of a file that has no size of its own, such as those of proc(5).
pub fn read_all(path: &CStr) -> Option<Vec<u8>> {
    let descriptor = openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match read(&descriptor, &mut buffer).ok()? {
            0 => return Some(bytes),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
}
