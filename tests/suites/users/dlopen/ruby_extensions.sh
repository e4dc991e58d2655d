# ruby loads every native extension that it comes with, and calls a library through fiddle.
#: heavy
#: needs: ruby
#: expect: required openssl
/usr/bin/ruby -rrbconfig -e '
    $stderr = $stdout
    folder = RbConfig::CONFIG["rubyarchdir"]
    Dir.glob("**/*.so", base: folder).sort.each do |file|
        name = file.delete_suffix(".so")
        begin
            require name
            puts "required #{name}"
        rescue LoadError, StandardError => error
            puts "refused #{name}: #{error.message[0, 60]}"
        end
    end
    require "fiddle"
    abs = Fiddle::Function.new(Fiddle.dlopen(nil)["abs"], [Fiddle::TYPE_INT], Fiddle::TYPE_INT)
    puts abs.call(-5), 4.times.map { |n| Thread.new { n * n } }.sum(&:value)
' 2>&1
