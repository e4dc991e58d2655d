#![no_main]

folio_fuzz::fuzz!(cpu_record);
