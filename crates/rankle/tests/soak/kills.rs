//! Processes that are killed, and readers that close their pipe, at random moments.

use crate::Size;
use crate::scenario::Scenario;
use rand::Rng;
use rankle_core::Seed;
use rankle_core::seed::Purpose;
use std::io::Read;
use std::process::{Command, Stdio};

/// Kills every other run and interrupts the rest as by Ctrl-C.
pub(crate) fn at_random_moments(size: &Size) {
    let mut random = Seed(1).stream(Purpose::Toy, [0, 0]);
    for scenario in Scenario::all() {
        let mut ended = [0; 2];
        for moment in 0..size.moments {
            let (folder, mut command) = scenario.start();
            let after = scenario.takes.mul_f64(random.random_range(0.0..1.0));
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(after);
            let asked = moment % 2;
            let signal = ["-KILL", "-INT"][asked];
            Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
            let status = child.wait().unwrap();
            ended[asked] += usize::from(!status.success());
            let what = format!("{signal} after {after:?} (moment {moment})");
            // Until the handler is installed, SIGINT ends the process like any other program.
            let obeyed = matches!((asked, status.code()), (0, None | Some(0)) | (1, None | Some(0 | 130)));
            assert!(obeyed, "{}: {what}: {status}", scenario.name);
            scenario.check_begun(folder.path(), &what);
            scenario.check_recovered(folder.path(), &what);
        }
        let [killed, interrupted] = ended;
        let (name, runs) = (scenario.name, size.moments);
        println!("soak: {name}: of {runs} runs {killed} killed and {interrupted} interrupted at a random moment, all recovered");
    }
}

/// A reader takes a few bytes of both streams and closes them; the command must still finish.
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
            // The command may print less than that.
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
