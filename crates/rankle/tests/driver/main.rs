//! The program from outside: arguments in, JSON, files and exit codes out.

mod attack;
mod classify;
mod faults;
mod measure;
mod photographs;
mod picture;
mod pipes;
mod reach;
mod run;
mod sanity;
mod support;
mod sweep;
mod train;
mod transfer;
mod universal;
mod weights;
