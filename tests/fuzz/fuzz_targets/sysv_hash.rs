#![no_main]

folio_fuzz::fuzz!(sysv_hash);
