# ImageMagick converts a picture through formats that are modules of their own.
#: heavy
#: needs: convert
#: expect: PNG 64x48
/usr/bin/convert -size 64x48 gradient:red-blue -depth 8 start.png 2>&1
for format in bmp gif jpg tiff pcx ppm tga webp xpm miff; do
    /usr/bin/convert start.png "a.$format" 2>&1 && /usr/bin/convert "a.$format" -depth 8 "$format.png" 2>&1
    /usr/bin/identify -format "%m %wx%h $format %#\n" "$format.png" 2>&1
done
/usr/bin/convert -list coder | grep -c .
