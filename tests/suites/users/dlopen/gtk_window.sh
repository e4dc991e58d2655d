# A GTK program draws a window on a virtual screen, with the theme engine and picture loaders that it opens.
#: heavy
#: needs: Xvfb xdotool xwininfo zenity
#: expect: Folio draws
export HOME=$PWD NO_AT_BRIDGE=1 GSETTINGS_BACKEND=memory
Xvfb -displayfd 3 -screen 0 640x480x24 -nolisten tcp 3> number 2> xvfb.log & server=$!
for _ in $(seq 100); do [ -s number ] && break; sleep 0.1; done
export DISPLAY=:$(cat number)
zenity --info --title 'Folio draws' --text 'a window' 2> zenity.log & program=$!
window=$(timeout 40 xdotool search --sync --onlyvisible --name 'Folio draws' | head -1)
xwininfo -id "$window" | grep -oE '"Folio draws"|Map State: .*'
kill $program; wait $program; echo "zenity ended with $?"
kill $server; wait $server; echo "Xvfb ended with $?"
