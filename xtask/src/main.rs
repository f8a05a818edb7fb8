//! Downloads, benchmark sweeps and the published tables.
fn main() {}
