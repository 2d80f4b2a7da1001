//! The disk that forgets, which other tests lean on, does forget, and only what it should.

use std::process::{Command, Output};

use crate::support::{Cut, Dice, Disk};

/// Runs a script of the shell in the data, on that disk.
fn run(disk: &Disk, script: &str) -> Output {
    Command::new("/bin/sh")
        .args(["-c", script])
        .envs(disk.environment())
        .current_dir(disk.data())
        .output()
        .unwrap()
}

#[track_caller]
fn done(disk: &Disk, script: &str) {
    let output = run(disk, script);
    assert!(output.status.success(), "{output:?}");
}

fn read(disk: &Disk, name: &str) -> Option<String> {
    std::fs::read_to_string(disk.data().join(name)).ok()
}

fn names(disk: &Disk) -> Vec<String> {
    let name = |(path, _): (std::path::PathBuf, u64)| {
        let path = path.strip_prefix(disk.data()).unwrap().to_owned();
        path.into_os_string().into_string().unwrap()
    };
    let mut names: Vec<_> = disk.files().into_iter().map(name).collect();
    names.sort();
    names
}

#[test]
fn only_what_was_synced_outlives_a_power_cut() {
    let mut disk = Disk::forgetful("");
    let mut dice = Dice::told();
    done(
        &disk,
        "printf kept > a; sync a; sync .; printf ' lost' >> a; printf new > b",
    );
    assert_eq!(read(&disk, "a").unwrap(), "kept lost");
    disk.lose_power(Cut::Forget, &mut dice);
    assert_eq!(names(&disk), ["a"]);
    assert_eq!(read(&disk, "a").unwrap(), "kept");
    // What is there after it is there for good; a sync in another process is one.
    done(
        &disk,
        "printf ' and' >> a; mkdir in; printf deep > in/c; sync in/c",
    );
    done(&disk, "sync a");
    done(&disk, "printf ' more' >> a");
    disk.lose_power(Cut::Forget, &mut dice);
    assert_eq!(names(&disk), ["a"]);
    assert_eq!(read(&disk, "a").unwrap(), "kept and");
    disk.lose_power(Cut::Forget, &mut dice);
    assert_eq!(read(&disk, "a").unwrap(), "kept and");
}

#[test]
fn names_are_there_for_good_once_their_directory_was_synced() {
    let mut disk = Disk::forgetful("");
    let mut dice = Dice::told();
    done(
        &disk,
        "mkdir in; printf one > in/a; sync in/a in .; mv in/a in/b; printf two > in/a; sync in/a",
    );
    disk.lose_power(Cut::Forget, &mut dice);
    assert_eq!(names(&disk), ["in/a"]);
    assert_eq!(read(&disk, "in/a").unwrap(), "one");
    done(
        &disk,
        "printf two > in/new; sync in/new; mv in/new in/a; sync in; rm in/a",
    );
    disk.lose_power(Cut::Forget, &mut dice);
    assert_eq!(read(&disk, "in/a").unwrap(), "two");
}

#[test]
fn what_is_cut_off_and_written_again_is_as_it_was_synced() {
    let mut disk = Disk::forgetful("");
    let mut dice = Dice::told();
    let long = "dd if=/dev/zero bs=1000 count=30 2>/dev/null | tr '\\0' x > a";
    done(
        &disk,
        &format!(
            "{long}; sync a .; truncate -s 5 a; sync a; truncate -s 20 a; sync a; printf zzz > a"
        ),
    );
    disk.lose_power(Cut::Forget, &mut dice);
    assert_eq!(
        read(&disk, "a").unwrap(),
        format!("xxxxx{}", "\0".repeat(15))
    );
}

#[test]
fn what_is_torn_or_mixed_is_so_between_sectors_and_never_in_what_was_synced() {
    let mut dice = Dice::told();
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..40 {
        let cut = if round % 2 == 0 { Cut::Tear } else { Cut::Mix };
        let mut disk = Disk::forgetful("");
        done(
            &disk,
            "printf '%4096s' | tr ' ' a > a; sync a .; printf '%4096s' | tr ' ' b >> a",
        );
        disk.lose_power(cut, &mut dice);
        let found = read(&disk, "a").unwrap();
        let sectors: Vec<_> = found.as_bytes().chunks(512).collect();
        assert!(
            sectors[..8].iter().all(|sector| *sector == [b'a'; 512]),
            "{cut:?}"
        );
        for sector in &sectors[8..] {
            assert!(
                *sector == [b'b'; 512] || *sector == [0; 512],
                "{cut:?}: {found:?}"
            );
        }
        seen.insert(found);
    }
    assert!(seen.len() > 4, "always the same: {}", seen.len());
}

#[test]
fn a_sync_that_failed_keeps_nothing_even_if_a_later_one_succeeds() {
    let mut disk = Disk::forgetful("");
    done(&disk, "printf kept > a; sync a .");
    let orders = |words: &str| disk.forgetful.as_ref().unwrap().orders(words);
    orders("sync=eio");
    // All in one process: a page that failed to sync counts as clean to it.
    let go_on = disk.home().join("go-on");
    let script = format!(
        "import os, time\nf = os.open('a', os.O_RDWR)\nos.pwrite(f, b'lost', 0)\n\
         try:\n    os.fsync(f)\n    raise SystemExit('it succeeded')\nexcept OSError as e:\n    assert e.errno == 5\n\
         open({:?}, 'w').close()\n\
         while os.path.exists({:?}): time.sleep(0.005)\n\
         os.fsync(f)\n",
        go_on.to_str().unwrap(),
        go_on.to_str().unwrap(),
    );
    let mut child = Command::new("python3")
        .args(["-c", &script])
        .envs(disk.environment())
        .current_dir(disk.data())
        .spawn()
        .unwrap();
    crate::support::eventually("its sync has failed", || go_on.exists());
    orders("");
    std::fs::remove_file(&go_on).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(read(&disk, "a").unwrap(), "lost");
    // Nor if it is another process that syncs, unless it writes it again.
    done(&disk, "printf other > b; sync a b .");
    disk.lose_power(Cut::Forget, &mut Dice::told());
    assert_eq!(read(&disk, "a").unwrap(), "kept");
    assert_eq!(read(&disk, "b").unwrap(), "other");
    done(
        &disk,
        "printf new! | dd of=a conv=notrunc 2>/dev/null; sync a",
    );
    disk.lose_power(Cut::Forget, &mut Dice::told());
    assert_eq!(read(&disk, "a").unwrap(), "new!");
}

#[test]
fn a_full_disk_takes_nothing_more_and_a_slow_one_its_time() {
    let disk = Disk::forgetful("");
    done(&disk, "printf kept > a");
    let orders = |words: &str| disk.forgetful.as_ref().unwrap().orders(words);
    orders("write=enospc");
    for script in ["printf more >> a", "printf new > b", "truncate -s 50 a"] {
        assert!(!run(&disk, script).status.success(), "{script}");
    }
    // What is there may be written over.
    done(&disk, "printf KE | dd of=a conv=notrunc 2>/dev/null");
    assert_eq!(read(&disk, "a").unwrap(), "KEpt");
    orders("delay=100");
    let begun = std::time::Instant::now();
    done(&disk, "sync a; sync a");
    assert!(begun.elapsed().as_millis() >= 200);
}

#[test]
fn the_machine_has_another_boot_id_after_a_power_cut_only() {
    let mut disk = Disk::forgetful("");
    let id = |disk: &Disk| run(disk, "cat /proc/sys/kernel/random/boot_id").stdout;
    let first = id(&disk);
    assert_eq!(id(&disk), first);
    assert_ne!(
        first,
        std::fs::read("/proc/sys/kernel/random/boot_id").unwrap()
    );
    disk.lose_power(Cut::Forget, &mut Dice::told());
    assert_ne!(id(&disk), first);
}
