//! Structures of glibc's that Folio owns: memory that is read and written through offsets of a layout table.
//!
//! # Safety
//! [`Record::new`] vouches for the memory; `put`, `get` and `address` stay within its size. Fields are plain integers and
//! pointers, which other threads may read meanwhile: they are stored as single words.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use folio_glibc::layout::Offset;

/// Integers that a field may be.
pub trait Field: Copy {
    /// # Safety
    /// `at` must be valid for reads of this type, and aligned.
    unsafe fn load(at: *mut u8) -> Self;
    /// # Safety
    /// `at` must be valid for writes of this type, and aligned.
    unsafe fn store(at: *mut u8, value: Self);
}

macro_rules! field {
    ($($integer:ty => $atomic:ty),*) => {$(
        impl Field for $integer {
            // SAFETY: the trait's contract.
            #[inline]
            unsafe fn load(at: *mut u8) -> Self {
                // SAFETY: the caller promises validity and alignment.
                unsafe { <$atomic>::from_ptr(at.cast()) }.load(Ordering::Acquire)
            }
            // SAFETY: the trait's contract.
            #[inline]
            unsafe fn store(at: *mut u8, value: Self) {
                // SAFETY: the caller promises validity and alignment.
                unsafe { <$atomic>::from_ptr(at.cast()) }.store(value, Ordering::Release)
            }
        }
    )*};
}

field!(u8 => AtomicU8, u16 => AtomicU16, u32 => AtomicU32, i32 => AtomicI32, u64 => AtomicU64, usize => AtomicUsize);

/// A structure in memory that Folio owns for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    base: *mut u8,
    size: usize,
}

impl Record {
    /// # Safety
    /// `base` must be valid for reads and writes of `size` bytes from now on, aligned to 8 and accessed through words only.
    pub const unsafe fn new(base: *mut u8, size: usize) -> Record {
        Record { base, size }
    }

    pub fn base(self) -> *mut u8 {
        self.base
    }

    /// Address of the field at `offset`, as an integer that other fields may hold.
    pub fn address(self, offset: Offset) -> usize {
        self.field(offset, 0).expose_provenance()
    }

    /// The part of `size` bytes at `offset`, a structure of its own.
    pub fn part(self, offset: Offset, size: usize) -> Record {
        Record { base: self.field(offset, size), size }
    }

    /// Pointer to the `size` bytes at `offset`.
    fn field(self, offset: Offset, size: usize) -> *mut u8 {
        let offset = usize::from(offset);
        assert!(offset + size <= self.size, "layout table exceeds its structure");
        self.base.wrapping_add(offset)
    }

    #[inline]
    pub fn put<T: Field>(self, offset: Offset, value: T) {
        let at = self.field(offset, size_of::<T>());
        // SAFETY: inside the record, which `new` vouched for; table offsets are aligned as C aligns them.
        unsafe { T::store(at, value) }
    }

    #[inline]
    pub fn get<T: Field>(self, offset: Offset) -> T {
        let at = self.field(offset, size_of::<T>());
        // SAFETY: as in `put`.
        unsafe { T::load(at) }
    }

    /// The `size` bytes at `offset`, for filling in before anybody else sees the structure.
    ///
    /// # Safety
    /// No other reference to these bytes may exist meanwhile.
    pub unsafe fn bytes_mut<'b>(self, offset: Offset, size: usize) -> &'b mut [u8] {
        let at = self.field(offset, size);
        // SAFETY: inside the record, and exclusive by the caller's promise.
        unsafe { core::slice::from_raw_parts_mut(at, size) }
    }
}
