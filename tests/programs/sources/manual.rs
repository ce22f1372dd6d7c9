//! A program without the constructor: it calls `init` itself, or forgets to.

fn main() {
    let forgets = std::env::args().any(|arg| arg == "forgets");
    if !forgets {
        crossproc::init();
    }
    let child = crossproc::Process::spawn(|| 7, ());
    println!("child: {:?}", child.map(crossproc::Process::join));
}
