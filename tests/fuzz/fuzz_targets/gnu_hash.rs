#![no_main]

folio_fuzz::fuzz!(gnu_hash);
