/* One line per fact about itself on standard output, then the end. */
#include <dirent.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static void print_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    printf("descriptors");
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(directory))
            printf(" %s", entry->d_name);
    printf("\n");
    closedir(directory);
}

static void print_status(void)
{
    static const char *const keys[] = { "SigBlk", "SigIgn", "SigCgt", "CapInh",    "CapPrm",
                                        "CapEff", "CapBnd", "CapAmb", "NoNewPrivs" };
    FILE *status = fopen("/proc/self/status", "r");
    char line[512], value[128];
    while (fgets(line, sizeof line, status) != NULL)
        for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
            if (strncmp(line, keys[i], strlen(keys[i])) == 0 &&
                sscanf(line + strlen(keys[i]) + 1, "%127s", value) == 1)
                printf("%s %s\n", keys[i], value);
    fclose(status);
}

int main(int argc, char **argv)
{
    struct rlimit core, files;
    int death = 0;
    char directory[4096];
    gid_t groups[64];
    getrlimit(RLIMIT_CORE, &core);
    getrlimit(RLIMIT_NOFILE, &files);
    prctl(PR_GET_PDEATHSIG, &death);
    print_descriptors();
    print_status();
    printf("ids %d %d %d %d\n", (int)getuid(), (int)geteuid(), (int)getgid(), (int)getegid());
    printf("groups %d\n", getgroups(64, groups));
    printf("core %lu %lu\n", (unsigned long)core.rlim_cur, (unsigned long)core.rlim_max);
    printf("files %lu\n", (unsigned long)files.rlim_cur);
    printf("death %d\n", death);
    printf("leads_session %d\n", getsid(0) == getpid());
    printf("leads_group %d\n", getpgrp() == getpid());
    printf("umask %o\n", (unsigned)umask(0));
    printf("directory %s\n", getcwd(directory, sizeof directory));
    for (int i = 0; i < argc; i++)
        printf("argument %s\n", argv[i]);
    for (char **variable = environ; *variable != NULL; variable++)
        printf("environment %s\n", *variable);
    fflush(stdout);
    fprintf(stderr, "to standard error\n");
    return 7;
}
