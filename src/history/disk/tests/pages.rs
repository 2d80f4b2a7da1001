//! Stores of which pages cannot be read.

use std::fs;
use std::path::Path;

use super::damage::{T, open, read};
use super::*;
use crate::history::Retain;
use crate::history::contract::{WIDE, message};

#[test]
fn of_a_file_that_was_cut_off_what_is_whole_is_served() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = begin(directory.path(), usize::MAX, T);
        let news = News::new();
        for n in 0..40 {
            let mut history = open(&store, &format!("t/{n}"), &news);
            for _ in 0..10 {
                let given = message("t", 900);
                history.append(given, Retain::Leave.into(), T).unwrap();
            }
        }
        store.quiet();
    }
    let file = schema::file(&settings(directory.path(), 0).directory);
    let len = fs::metadata(&file).unwrap().len();
    let opened = fs::OpenOptions::new().write(true).open(&file).unwrap();
    opened.set_len(len / 2 / 4096 * 4096).unwrap();
    drop(opened);
    let store = begin(directory.path(), 0, Timestamp(T.0 + 50));
    assert!(store.shared.figures.all_damaged() > 0);
    assert!(store.fault().is_none());
    let left = store.topics();
    assert!(!left.is_empty() && left.len() < 40, "{}", left.len());
    let news = News::new();
    let mut history = store
        .open(&left[0].topic, terms(WIDE, Durability::Synced), &news)
        .unwrap();
    let held: Vec<u64> = (history.oldest()..=history.newest()).collect();
    assert_eq!(read(&store, &news, &mut *history, 0), held);
    history
        .append(message("t", 1), Retain::Leave.into(), T)
        .unwrap();
    calm(&store, &news, &mut *history, T);
    let kept = fs::read_dir(settings(directory.path(), 0).directory).unwrap();
    let kept = kept.filter(|file| {
        let name = file.as_ref().unwrap().file_name();
        name.to_string_lossy().contains(".damaged-")
    });
    assert_eq!(kept.count(), 1, "the old file is kept");
}

fn takes_a_message(store: &DiskStore) -> bool {
    let news = News::new();
    let mut history = open(store, "t/0", &news);
    let taken = history.append(message("t", 1), Retain::Leave.into(), T);
    calm(store, &news, &mut *history, T);
    taken.is_ok_and(|taken| history.settled() == taken.offset())
}

#[test]
fn wherever_a_file_was_cut_off_the_rest_is_served() {
    let directory = tempfile::tempdir().unwrap();
    {
        let store = begin(directory.path(), usize::MAX, T);
        let news = News::new();
        for n in 0..30 {
            let mut history = open(&store, &format!("t/{n}"), &news);
            for size in 0..10 {
                let given = message("t", size * 100);
                history.append(given, Retain::Set.into(), T).unwrap();
            }
        }
        store.quiet();
    }
    let bytes = fs::read(schema::file(&settings(directory.path(), 0).directory)).unwrap();
    let (mut refused, mut served) = (0, 0);
    for cut in (4096..bytes.len()).step_by(bytes.len() / 40) {
        let directory = tempfile::tempdir().unwrap();
        let at = settings(directory.path(), 0);
        fs::create_dir_all(&at.directory).unwrap();
        fs::write(schema::file(&at.directory), &bytes[..cut]).unwrap();
        match DiskStore::begin(&at, epochs, T) {
            Ok(mut store) => {
                served += 1;
                // Half of the last page may not be looked at yet.
                let is_found = store.shared.figures.all_damaged() > 0;
                assert!(is_found || cut > bytes.len() - 4096, "{cut}");
                if !takes_a_message(&store) {
                    drop(store);
                    store = DiskStore::begin(&at, epochs, T).unwrap();
                    assert!(takes_a_message(&store), "{cut}");
                }
            }
            // Nothing of it can be read: it is left as it is.
            Err(error) => {
                refused += 1;
                assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
                let left = fs::read(schema::file(&at.directory)).unwrap();
                assert_eq!(left.len(), cut);
            }
        }
    }
    assert!(served > refused, "{served} {refused}");
}

/// Makes a page of the table of places unreadable, not the last one.
fn wipe_a_page_of_places(directory: &Path) {
    const INDEX_LEAF: u8 = 0x0a;
    let file = schema::file(&settings(directory, 0).directory);
    let mut bytes = fs::read(&file).unwrap();
    let pages = bytes.chunks_exact_mut(4096);
    let mut leaves: Vec<_> = pages
        .filter(|page| page[0] == INDEX_LEAF && u16::from_be_bytes([page[3], page[4]]) > 50)
        .collect();
    assert!(leaves.len() > 3, "{}", leaves.len());
    leaves[1].fill(0xee);
    fs::write(&file, bytes).unwrap();
}

#[test]
fn topics_whose_pages_are_damaged_begin_anew_and_do_not_stop_the_others() {
    const TOPICS: usize = 100;
    let directory = tempfile::tempdir().unwrap();
    let names: Vec<_> = (0..TOPICS).map(|n| format!("t/{n:03}")).collect();
    let mut epochs = Vec::new();
    {
        let store = begin(directory.path(), usize::MAX, T);
        let news = News::new();
        for name in &names {
            let mut history = open(&store, name, &news);
            for n in 0..20 {
                let retain = if n == 0 { Retain::Set } else { Retain::Leave };
                history.append(message(name, 1), retain.into(), T).unwrap();
            }
            epochs.push(history.epoch());
        }
        store.quiet();
    }
    wipe_a_page_of_places(directory.path());
    let store = begin(directory.path(), 0, T);
    let news = News::new();
    let mut histories: Vec<_> = names.iter().map(|name| open(&store, name, &news)).collect();
    let mut renewed = 0;
    for round in 0..4 {
        for (history, name) in histories.iter_mut().zip(&names) {
            history
                .append(message(name, 1), Retain::Leave.into(), T)
                .unwrap();
        }
        // Where it failed, it was the round's last.
        loop {
            store.quiet();
            let told = news.take();
            if told.is_empty() {
                break;
            }
            for told in told {
                match told {
                    Told::Settled(ticket) => histories.iter_mut().for_each(|h| h.settle(ticket)),
                    Told::Failed { .. } => histories.iter_mut().for_each(|h| h.take_back()),
                    Told::Found { .. } => {}
                }
            }
        }
        renewed = histories
            .iter()
            .zip(&epochs)
            .filter(|(h, e)| h.epoch() != **e)
            .count();
        assert!(store.fault().is_none(), "{round}");
    }
    until("damaged topics are set aside", || {
        store.shared.figures.all_damaged() > 0
    });
    assert!(renewed < TOPICS / 2, "{renewed}");
    let mut whole = 0;
    for ((history, name), epoch) in histories.iter_mut().zip(&names).zip(&epochs) {
        assert!(history.retained().is_some(), "{name}");
        if history.epoch() == *epoch && history.oldest() == 1 {
            history
                .append(message(name, 1), Retain::Leave.into(), T)
                .unwrap();
            calm(&store, &news, &mut **history, T);
            let newest = history.newest();
            if history.epoch() != *epoch {
                continue;
            }
            let held = read(&store, &news, &mut **history, 0);
            whole += usize::from(held == (1..=newest).collect::<Vec<_>>());
        }
    }
    assert!(whole > TOPICS / 2, "{whole}");
}
