# Where everything is: for this script itself, and in .deps/env.sh for the Makefile and for a shell.
# Sourced by ops/setup.sh.

# tor stands in /usr/sbin, which an ordinary user's PATH may lack; what is unpacked comes before what is installed.
use_environment() {
    PATH=$deps/bin:${PATH#"$deps/bin:"}
    case :$PATH: in *:/usr/sbin:*) ;; *) PATH=$PATH:/usr/sbin:/sbin ;; esac
    # An unpacked Python is used through the virtual environment too, hence not only in its wrapper.
    if [ -x "$deps/bin/python3" ]; then
        export LD_LIBRARY_PATH="$deps/root/usr/lib/$(uname -m)-linux-gnu:$deps/root/lib/$(uname -m)-linux-gnu"
    fi
    if [ -d "$deps/root/usr/share/ca-certificates/mozilla" ]; then
        if [ ! -s "$deps/certificates.pem" ]; then
            cat "$deps"/root/usr/share/ca-certificates/mozilla/*.crt >"$deps/certificates.pem"
        fi
        export PIP_CERT="${PIP_CERT:-$deps/certificates.pem}"
    fi
}

# `. .deps/env.sh` makes `bayonne` and the programs it starts available in a shell.
write_environment() {
    local modules=
    if [ -d "$deps/root/usr/lib" ]; then
        modules=$(find "$deps/root/usr/lib" -type d -path '*baresip/modules' | head -n 1)
    fi
    {
        echo "# Written by ops/setup.sh: where bayonne and the programs it starts are."
        echo "export PATH=\"$deps/bin:$venv/bin:\$PATH:/usr/sbin:/sbin\""
        if [ -n "$modules" ]; then echo "export BARESIP_MODULES=\"$modules\""; fi
        if [ -d "$deps/root$sounds" ]; then echo "export BAYONNE_SOUNDS=\"$deps/root$sounds\""; fi
        if [ -x "$deps/bin/python3" ]; then echo "export LD_LIBRARY_PATH=\"$LD_LIBRARY_PATH\""; fi
    } >"$deps/env.sh"
}
