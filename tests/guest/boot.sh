# Process 1 of the guest's root filesystem, handed over in the exchange: makes a system of it, without udev, mounts what the host
# shares, runs the job and tells how it ended. Then the machine stops, wherever it is: nothing on its disk is kept.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 run /run
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
hostname guest
busybox ifconfig lo up

# The device nodes that load their module when somebody opens them. udev is not there to make them.
kmod static-nodes --format=tmpfiles | while read -r kind node mode _ _ _ number; do
    mkdir -p "$(dirname "$node")"
    case $kind in c* | b*) mknod -m "$mode" "$node" "${kind%!}" "${number%:*}" "${number#*:}" ;; esac
done 2>/dev/null

# What the host shares is read only; what is written there goes to memory. At the same place as on the host: an environment knows its path.
modprobe overlay
while read -r tag place; do
    mkdir -p "$place" "/run/shared/$tag" "/run/written/$tag" "/run/work/$tag"
    mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose "$tag" "/run/shared/$tag"
    mount -t overlay -o "lowerdir=/run/shared/$tag,upperdir=/run/written/$tag,workdir=/run/work/$tag" overlay "$place"
done </exchange/shares

if [ -e /exchange/terminal ]; then
    setsid --ctty --wait sh /exchange/job </dev/ttyS0 >/dev/ttyS0 2>&1
    echo $? >/exchange/status
else
    stty -F /dev/ttyS0 -onlcr
    mkfifo /run/output
    cat /run/output >/dev/ttyS0 &
    reader=$!
    sh /exchange/job </dev/null >/run/output 2>&1
    echo $? >/exchange/status
    # All is shown when nobody has the other end any more: nobody but what the job may have left running.
    timeout 10 tail --pid="$reader" --sleep-interval=0.1 --follow /dev/null
fi
echo b >/proc/sysrq-trigger
