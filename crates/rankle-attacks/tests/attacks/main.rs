//! The attacks compared with references, and properties of every attack.

mod autograd;
mod backends;
mod choice;
mod harness;
mod pgd_l2;
mod resolution;
mod sanity;
mod searches;
mod sets;
mod slope;
mod support;
mod transfer;
mod universal;
mod worked;
