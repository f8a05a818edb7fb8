//! Tests of the program from outside: arguments in; JSON, files and exit codes out.

mod attack;
mod classify;
mod convert;
mod devices;
mod exec;
mod faults;
mod folder;
mod image_ranks;
mod manual;
mod measure;
mod onnx;
mod photographs;
mod picture;
mod pipes;
mod reach;
mod run;
mod sanity;
mod sets;
mod support;
mod sweep;
mod train;
mod transfer;
mod universal;
mod verify;
mod weights;
