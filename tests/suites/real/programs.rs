//! The real programs and the work that each is given. Output must not vary from run to run.

/// One program and its work.
pub struct Program {
    pub name: &'static str,
    /// Its name on the path.
    pub program: &'static str,
    /// Other programs that it starts.
    pub needs: &'static [&'static str],
    /// A shell script that makes the working folder ready.
    pub prepare: &'static str,
    pub arguments: &'static [&'static str],
    pub input: &'static str,
    /// Text that its output must contain.
    pub expect: &'static str,
}

const fn program(name: &'static str, program: &'static str, arguments: &'static [&'static str]) -> Program {
    Program { name, program, needs: &[], prepare: "", arguments, input: "", expect: "" }
}

impl Program {
    const fn after(mut self, prepare: &'static str) -> Self {
        self.prepare = prepare;
        self
    }

    const fn needing(mut self, needs: &'static [&'static str]) -> Self {
        self.needs = needs;
        self
    }

    const fn reading(mut self, input: &'static str) -> Self {
        self.input = input;
        self
    }

    const fn saying(mut self, expect: &'static str) -> Self {
        self.expect = expect;
        self
    }
}

const PYTHON_THREADING: &str = "
import threading
total = []
threads = [threading.Thread(target=lambda n=n: total.append(n * n)) for n in range(32)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(sum(total))
";

const PYTHON_CTYPES: &str = "
import ctypes, ctypes.util
libc = ctypes.CDLL(None)
libm = ctypes.CDLL('libm.so.6')
libm.sqrt.restype, libm.sqrt.argtypes = ctypes.c_double, [ctypes.c_double]
print(libc.abs(-5), libm.sqrt(2.0))
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
numbers = (ctypes.c_int * 5)(5, 3, 4, 1, 2)
libc.qsort(numbers, 5, 4, CALLBACK(lambda a, b: a[0] - b[0]))
print(list(numbers))
try:
    ctypes.CDLL('libnowhere.so.1')
except OSError as error:
    print(error)
try:
    libc.no_such_function
except AttributeError as error:
    print(str(error).split(': ')[-1])
";

const PYTHON_SSL: &str = "
import socket, ssl, threading
ours, theirs = socket.socketpair()
server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
server.load_cert_chain('cert.pem', 'key.pem')
def serve():
    with server.wrap_socket(theirs, server_side=True) as connection:
        connection.sendall(connection.recv(100).upper())
thread = threading.Thread(target=serve)
thread.start()
client = ssl.create_default_context(cafile='cert.pem')
with client.wrap_socket(ours, server_hostname='localhost') as connection:
    connection.sendall(b'hello over tls')
    print(connection.recv(100).decode(), connection.version())
thread.join()
";

const CERTIFICATE: &str = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 \
    -subj /CN=localhost -addext subjectAltName=DNS:localhost 2>/dev/null";

const PYTHON_SQLITE: &str = "
import sqlite3
database = sqlite3.connect(':memory:')
database.execute('create table t (a, b)')
database.executemany('insert into t values (?, ?)', [(n, n * n) for n in range(100)])
print(database.execute('select sum(a), sum(b) from t').fetchone())
";

const PYTHON_MULTIPROCESSING: &str = "cat > m.py <<'END'
import multiprocessing
def square(n):
    return n * n
if __name__ == '__main__':
    for method in ('fork', 'spawn'):
        with multiprocessing.get_context(method).Pool(3) as pool:
            print(method, sum(pool.map(square, range(50))))
END
";

const PYTHON_ASYNCIO: &str = "
import asyncio
async def work(n):
    await asyncio.sleep(0.001 * (n % 3))
    return n
async def main():
    print(sum(await asyncio.gather(*(work(n) for n in range(20)))))
    process = await asyncio.create_subprocess_exec('/bin/echo', 'child', stdout=asyncio.subprocess.PIPE)
    print((await process.communicate())[0].decode().strip())
    print((await asyncio.get_running_loop().getaddrinfo('127.0.0.1', 80))[0][4])
asyncio.run(main())
";

const PYTHON_MODULES: &str = "
import array, bz2, csv, curses, datetime, decimal, grp, hashlib, heapq, json, locale, lzma, math, mmap, pwd, pyexpat
import random, readline, select, socket, struct, unicodedata, uuid, zlib, xml.etree.ElementTree as tree
print(json.dumps({'a': [1, 2.5, None]}), hashlib.sha256(b'x').hexdigest(), decimal.Decimal(1) / 7)
print(zlib.crc32(b'abc'), lzma.decompress(lzma.compress(b'lzma')), bz2.decompress(bz2.compress(b'bz2')))
print(tree.fromstring('<a b=\"c\">d</a>').attrib, unicodedata.name('é'), pwd.getpwuid(0).pw_name)
open('/proc/self/maps').close()
";

const PERL_THREADS: &str = "
use threads; use POSIX; use Socket; use List::Util 'sum'; use Digest::SHA 'sha1_hex'; use Data::Dumper;
my @threads = map { my $n = $_; threads->create(sub { return $n * $n }) } 1 .. 8;
print sum(map { $_->join } @threads), ' ', sha1_hex('x'), ' ', POSIX::floor(2.7), ' ', inet_ntoa(inet_aton('127.0.0.1')), qq(\\n);
";

const GIT_REPOSITORY: &str = "
git init -q -b main . && git config user.name A && git config user.email a@example.org
export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z'
for n in 1 2 3; do echo $n > file && git add file && git commit -q -m \"Commit $n\"; done
";

const CPP_SOURCES: &str = "
cat > thrower.cpp <<'END'
#include <stdexcept>
void thrower() { throw std::runtime_error(\"across libraries\"); }
END
cat > main.cpp <<'END'
#include <iostream>
#include <stdexcept>
void thrower();
int main() { try { thrower(); } catch (const std::exception &fault) { std::cout << fault.what() << std::endl; } }
END
cat > build.sh <<'END'
g++ -shared -fPIC -o libthrower.so thrower.cpp && g++ -o main main.cpp -L. -lthrower -Wl,-rpath,'$ORIGIN' && ./main
END
";

const FILES: &str =
    "mkdir -p d/e && seq 1 20000 > d/numbers && seq 1 7 > d/e/few && touch -d 2020-01-01 d/e/few d/numbers d/e d";

const GDB_PROGRAM: &str = "
printf 'int twice(int n) { return 2 * n; }\\nint main(void) { return twice(21) - 42; }\\n' > p.c && gcc -g -O0 -o p p.c
";

pub const PROGRAMS: &[Program] = &[
    program("true", "true", &[]),
    program("ls", "ls", &["-l", "/usr"]).saying("bin"),
    program("bash", "bash", &["-c", "echo $((1+1)) | cat"]).saying("2\n"),
    program("bash_job", "bash", &["-c", "for i in 1 2 3; do (echo $i); done; wait; printf '%s\\n' ~root; trap 'echo bye' EXIT"])
        .saying("bye"),
    program("python_threading", "python3", &["-c", PYTHON_THREADING]).saying("10416"),
    program("python_ctypes", "python3", &["-c", PYTHON_CTYPES]).saying("[1, 2, 3, 4, 5]"),
    program("python_ssl", "python3", &["-c", PYTHON_SSL]).after(CERTIFICATE).saying("HELLO OVER TLS"),
    program("python_sqlite3", "python3", &["-c", PYTHON_SQLITE]).saying("(4950, 328350)"),
    program("python_multiprocessing", "python3", &["m.py"]).after(PYTHON_MULTIPROCESSING).saying("spawn 40425"),
    program("python_asyncio", "python3", &["-c", PYTHON_ASYNCIO]).saying("child"),
    program("python_modules", "python3", &["-c", PYTHON_MODULES]).saying("LATIN SMALL LETTER E WITH ACUTE"),
    program("perl_threads", "perl", &["-e", PERL_THREADS]).saying("204 "),
    program("git_log", "git", &["log", "--stat", "--no-color"]).after(GIT_REPOSITORY).saying("Commit 3"),
    program("gcc_exceptions", "bash", &["build.sh"]).after(CPP_SOURCES).needing(&["g++"]).saying("across libraries"),
    program("gcc", "gcc", &["-x", "c", "-E", "-P", "-"]).reading("#define A 3\nint x = A;\n").saying("int x = 3;"),
    program("gdb", "gdb", &["-nx", "-batch", "-ex", "break twice", "-ex", "run", "-ex", "bt", "-ex", "print n", "p"])
        .after(GDB_PROGRAM)
        .saying("$1 = 21"),
    program("curl", "curl", &["-sS", "file:///etc/passwd"]).saying("root:"),
    program("curl_version", "curl", &["--version"]).saying("Protocols"),
    program("openssl", "openssl", &["dgst", "-sha256"]).reading("abc").saying("ba7816bf"),
    program("openssl_self_test", "openssl", &["verify", "-CAfile", "cert.pem", "cert.pem"]).after(CERTIFICATE).saying("OK"),
    program("tar", "tar", &["-C", "d", "--sort=name", "--owner=0", "--group=0", "-tvf", "d.tar"])
        .after("mkdir -p d/e && seq 1 7 > d/e/few && touch -d 2020-01-01 d/e/few d/e && tar --owner=0 --group=0 -C d -cf d.tar e")
        .saying("e/few"),
    program("xz", "xz", &["-T2", "-c", "d/numbers"]).after(FILES),
    program("zstd", "zstd", &["-q", "-T2", "-c", "d/numbers"]).after(FILES),
    program("bzip2", "bzip2", &["-c", "d/numbers"]).after(FILES),
    program("sqlite3", "sqlite3", &[":memory:", "create table t(a); insert into t values(1),(2); select sum(a), sqlite_version() from t"])
        .saying("3|"),
    program("vim", "vim", &["-es", "-u", "NONE", "-i", "NONE", "-c", "%s/old/new/", "-c", "%print", "-c", "qall!", "text"])
        .after("echo an old text > text")
        .saying("an new text"),
    program("getent_passwd", "getent", &["passwd", "root"]).saying("root:"),
    program("getent_hosts", "getent", &["hosts", "localhost"]).saying("localhost"),
    program("iconv_to", "iconv", &["-f", "UTF-8", "-t", "ISO-2022-JP"]).reading("日本語\n").saying("\u{1b}$B"),
    program("iconv_from", "iconv", &["-f", "ISO-2022-JP", "-t", "UTF-8"]).reading("\u{1b}$BF|K\\8l\u{1b}(B\n").saying("日本語"),
    program("node", "node", &["-e", "const {Worker}=require('worker_threads'); new Worker('require(\"worker_threads\").parentPort.postMessage(6*7)',{eval:true}).on('message',m=>console.log(m,require('crypto').createHash('md5').update('x').digest('hex')))"])
        .saying("42 "),
    program("cargo", "cargo", &["--version"]).saying("cargo 1."),
    program("rustc", "rustc", &["--version", "--verbose"]).saying("LLVM version"),
    program("rustc_compile", "rustc", &["--crate-type", "lib", "--emit", "metadata", "-o", "lib.rmeta", "lib.rs"])
        .after("echo 'pub fn f() -> u32 { 1 }' > lib.rs"),
    program("find", "find", &["/usr/share/doc", "-maxdepth", "2", "-name", "copyright"]).saying("/copyright"),
    program("find_usr", "find", &["/usr", "-xdev", "-type", "d", "-not", "-path", "/usr/local/*"]).saying("/usr/bin"),
    program("ssh", "ssh", &["-V"]),
    program("ssh_keygen", "ssh-keygen", &["-l", "-f", "key.pub"]).after("ssh-keygen -q -t ed25519 -N '' -f key").saying("ED25519"),
    program("gpg", "gpg", &["--version"]).saying("gpg (GnuPG)"),
    program("awk", "mawk", &["BEGIN { print sin(1), substr(\"folio\", 2) }"]).saying("olio"),
    program("sed", "sed", &["-n", "s/\\(a\\+\\)b/<\\1>/p"]).reading("aaab\nccc\n").saying("<aaa>"),
    program("sort", "sort", &["--parallel=2", "-n", "-r", "d/numbers"]).after(FILES).saying("20000"),
    program("file", "file", &["-b", "/bin/true"]).saying("ELF 64-bit"),
    program("strace", "strace", &["-qq", "-e", "trace=exit_group", "/bin/true"]),
    program("id", "id", &[]).saying("uid="),
    program("date", "date", &["-d", "@0", "-R"]).saying("1970"),
];
