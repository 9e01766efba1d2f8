/* A preload that makes fsync and fdatasync slow: each first sleeps for as many milliseconds as the file that HEADRACE_SLOW
   names says, and then writes a byte to the file of the same name with .count behind it, so that one can see that it did. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void dawdle(void)
{
    char path[4096];
    const char *name = getenv("HEADRACE_SLOW");
    int milliseconds = 0;
    FILE *said = name ? fopen(name, "r") : NULL;
    if (!said)
        return;
    if (fscanf(said, "%d", &milliseconds) != 1)
        milliseconds = 0;
    fclose(said);
    if (milliseconds <= 0)
        return;
    usleep((useconds_t)milliseconds * 1000);
    snprintf(path, sizeof path, "%s.count", name);
    int counted = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (counted >= 0) {
        if (write(counted, ".", 1) != 1)
            milliseconds = 0;
        close(counted);
    }
}

int fsync(int descriptor)
{
    dawdle();
    return (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor)
{
    dawdle();
    return (int)syscall(SYS_fdatasync, descriptor);
}
