#![no_main]

folio_fuzz::fuzz!(cache);
