//! The attacks against what others say of them, and against what must hold of any attack.

mod autograd;
mod choice;
mod harness;
mod pgd_l2;
mod places;
mod resolution;
mod sanity;
mod sets;
mod slope;
mod support;
mod transfer;
mod universal;
mod worked;
