# javac compiles and java runs a program with threads, which loads its virtual machine, zip and network libraries.
#: heavy
#: needs: javac java
#: expect: sum 2016
cat > Hello.java <<'JAVA'
import java.util.concurrent.*;
import java.util.stream.*;
public class Hello {
    static int depth(int n) { return n == 0 ? 0 : 1 + depth(n - 1); }
    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(8);
        var results = pool.invokeAll(IntStream.range(0, 64).mapToObj(n -> (Callable<Integer>) () -> n).toList());
        int sum = 0;
        for (var result : results) sum += result.get();
        pool.shutdown();
        System.out.println("sum " + sum + " depth " + depth(3000));
        try {
            Object nothing = null;
            nothing.hashCode();
        } catch (NullPointerException fault) {
            System.out.println("a null pointer was caught by its signal");
        }
        System.out.println(new java.net.Socket().isConnected() + " " + java.util.zip.Deflater.BEST_SPEED);
        try {
            System.loadLibrary("nowhere");
        } catch (UnsatisfiedLinkError error) {
            System.out.println(error.getMessage().replaceAll(":.*", ""));
        }
    }
}
JAVA
/usr/bin/javac Hello.java 2>&1
/usr/bin/java -Xmx128m Hello 2>&1
