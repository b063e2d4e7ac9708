//! A server of pages, its clients, and the files behind it, on one thread.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use littoral::{Buffer, Config, File, OpenOptions, SyncKind, start};
use on_tokio::drive;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const PAGE: usize = 4096;
const PAGES: u64 = 256;
const CLIENTS: u64 = 8;
const REQUESTS: u64 = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let io = start(Config::new().root(folder.path()))?;
    // From here on completions make progress while the runtime does.
    let driving = tokio::spawn(drive(io.poller()?));

    let file = io.open("pages", OpenOptions::new().create(true)).await?;
    for page in 0..PAGES {
        file.pwrite(page * PAGE as u64, vec![fill(page); PAGE].into()).await?;
    }
    file.sync(SyncKind::Data).await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let serving = tokio::spawn(serve(listener, Arc::clone(&file)));
    // Timers go on beside it, as they would not on a blocked thread.
    let ticking = tokio::spawn(async {
        let mut ticks = 0_u32;
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            ticks += 1;
            if ticks == 20 {
                break;
            }
        }
    });

    let started = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            tokio::spawn(async move { client(TcpStream::connect(address).await?, number).await })
        })
        .collect();
    let mut served = 0;
    for client in clients {
        served += client.await??;
    }
    let took = started.elapsed();
    ticking.await?;
    serving.abort();

    let writes = (0..64).map(|page| file.pwrite(page * PAGE as u64, vec![0xee; PAGE].into()));
    for write in writes.collect::<Vec<_>>() {
        write.await?;
    }
    let size = file.size().await?;

    // The descriptor does not keep the driver; its end ends the task.
    drop((file, io));
    drop(serving.await);
    driving.await??;
    println!("{served} pages of {PAGE} bytes to {CLIENTS} clients in {took:.0?}, {size} bytes");
    println!("all of it on the thread `{}`", thread::current().name().unwrap_or("?"));
    Ok(())
}

/// Answers each page number with its page.
async fn serve(listener: TcpListener, file: Arc<dyn File>) -> Result<()> {
    let thread = thread::current().id();
    loop {
        let (mut stream, _) = listener.accept().await?;
        let file = Arc::clone(&file);
        tokio::spawn(async move {
            while let Ok(page) = stream.read_u64().await {
                let read = file.pread(page * PAGE as u64, Buffer::with_capacity(PAGE)).await?;
                ensure!(thread::current().id() == thread, "there is one thread");
                stream.write_all(&read).await?;
            }
            anyhow::Ok(())
        });
    }
}

/// Asks for pages and looks at them; how many they were.
async fn client(mut stream: TcpStream, number: u64) -> Result<u64> {
    let mut bytes = vec![0; PAGE];
    for request in 0..REQUESTS {
        let page = (number * 31 + request * 7) % PAGES;
        stream.write_u64(page).await?;
        stream.read_exact(&mut bytes).await.context("the server has gone")?;
        ensure!(bytes.iter().all(|byte| *byte == fill(page)), "page {page} is another one");
    }
    Ok(REQUESTS)
}

/// What a page is full of.
#[expect(clippy::cast_possible_truncation, reason = "any byte will do")]
const fn fill(page: u64) -> u8 {
    (page * 37 + 1) as u8
}
