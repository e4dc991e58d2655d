#![no_main]

folio_fuzz::fuzz!(debug);
