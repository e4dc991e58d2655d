//! Messages: text that reaches a descriptor whole, by one write(2).
//!
//! Lines of several processes share a terminal or a log, and a reader wants to see one line as one thing. A message is
//! gathered on the stack and written when it is flushed or dropped; only one that outgrows the buffer takes several
//! writes, and no byte is lost.

use crate::syscall::{self, Errno};
use core::fmt;
use core::mem::MaybeUninit;
use core::slice;

/// Room for a sentence that names two paths of ordinary length; a longer one takes a second write.
const CAPACITY: usize = 4096;

/// A message under way to a descriptor.
pub struct Output {
    descriptor: i32,
    length: usize,
    buffer: [MaybeUninit<u8>; CAPACITY],
}

impl Output {
    pub const fn to(descriptor: i32) -> Self {
        Self { descriptor, length: 0, buffer: [MaybeUninit::uninit(); CAPACITY] }
    }

    pub const fn stdout() -> Self {
        Self::to(1)
    }

    pub const fn stderr() -> Self {
        Self::to(2)
    }

    /// Adds bytes as they are: paths and symbol names need not be UTF-8.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.length == CAPACITY {
                self.flush();
            }
            let count = bytes.len().min(CAPACITY - self.length);
            let (now, later) = bytes.split_at(count);
            for (place, &byte) in self.buffer[self.length..].iter_mut().zip(now) {
                place.write(byte);
            }
            self.length += count;
            bytes = later;
        }
    }

    /// Writes what was gathered. A descriptor that takes nothing is nobody's error: there is nowhere to say it.
    pub fn flush(&mut self) {
        // SAFETY: the first `length` bytes were written by `push`.
        let mut rest = unsafe { slice::from_raw_parts(self.buffer.as_ptr().cast::<u8>(), self.length) };
        while !rest.is_empty() {
            const EINTR: Errno = Errno(4);
            match syscall::write(self.descriptor, rest) {
                Ok(0) => break,
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(EINTR) => {}
                Err(_) => break,
            }
        }
        self.length = 0;
    }
}

impl fmt::Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn one_message_is_one_write() {
        // A datagram socket keeps the borders of writes.
        let (reader, writer) = UnixDatagram::pair().unwrap();
        let mut output = Output::to(writer.as_raw_fd());
        write!(output, "a: {}", 1).unwrap();
        output.push(b"\xff\n");
        drop(output);
        let mut buffer = [0; 64];
        let count = reader.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"a: 1\xff\n");
    }

    #[test]
    fn a_long_message_loses_nothing() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let text = "0123456789".repeat(1000);
        let mut output = Output::to(writer.as_raw_fd());
        output.write_str(&text).unwrap();
        drop(output);
        drop(writer);
        let mut seen = String::new();
        reader.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, text);
    }
}
