# ffmpeg, with its hundreds of libraries, lists its filters and encodes a test picture.
#: heavy
#: needs: ffmpeg
#: expect: testsrc
ffmpeg -hide_banner -filters 2>&1
ffmpeg -hide_banner -loglevel error -nostdin -f lavfi -i testsrc=duration=1:size=160x120:rate=10 \
    -frames:v 5 -c:v libx264 -threads 2 -bitexact -y out.mkv 2>&1
ffmpeg -hide_banner -loglevel error -nostdin -i out.mkv -f framemd5 -bitexact - 2>&1
ffmpeg -hide_banner -loglevel error -nostdin -f lavfi -i sine=duration=0.2 -c:a libmp3lame -bitexact -f md5 - 2>&1
