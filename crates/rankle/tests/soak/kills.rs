//! Processes that are killed, and readers that go, at a random moment.

use crate::Size;
use crate::scenario::Scenario;
use rand::Rng;
use rankle_core::Seed;
use rankle_core::seed::Purpose;
use std::io::Read;
use std::process::Stdio;

pub(crate) fn at_random_moments(size: &Size) {
    let mut random = Seed(1).stream(Purpose::Toy, [0, 0]);
    for scenario in Scenario::all() {
        let mut killed = 0;
        for moment in 0..size.moments {
            let (folder, mut command) = scenario.start();
            let after = scenario.takes.mul_f64(random.random_range(0.0..1.0));
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(after);
            child.kill().unwrap();
            killed += usize::from(!child.wait().unwrap().success());
            let what = format!("killed after {after:?} (moment {moment})");
            scenario.check_begun(folder.path(), &what);
            scenario.check_recovered(folder.path(), &what);
        }
        println!("soak: {}: {killed} of {} runs killed at a random moment, all recovered", scenario.name, size.moments);
    }
}

/// Somebody reads a little of both streams, and goes: the work is done to its end all the same.
pub(crate) fn readers_that_go(size: &Size) {
    let mut random = Seed(2).stream(Purpose::Toy, [0, 0]);
    for scenario in Scenario::all() {
        for moment in 0..size.moments {
            let (folder, mut command) = scenario.start();
            let (mut reader, writer) = std::io::pipe().unwrap();
            let read = random.random_range(0..200);
            let mut child = command.arg("-vv").stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
            drop(command);
            let mut bytes = vec![0; read];
            // It may say less than that.
            reader.read_exact(&mut bytes).ok();
            drop(reader);
            let status = child.wait().unwrap();
            let what = format!("its reader went after {read} bytes (moment {moment})");
            assert_eq!(status.code(), Some(0), "{}: {what}", scenario.name);
            scenario.check_recovered(folder.path(), &what);
        }
        println!("soak: {}: {} readers gone, all finished", scenario.name, size.moments);
    }
}
