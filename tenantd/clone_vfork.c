/* clone3(2) where we have the few instructions that it takes (the C library has no wrapper for it),
 * because only clone3 puts a child into a cgroup at birth (moving it there afterwards costs more
 * than the start itself) and takes our signal handlers from it. Everywhere else, and where a
 * seccomp filter forbids clone3, clone(2). */
#include "tenantd/clone_vfork.h"

#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One child at a time, and we sleep as long as it uses the stack. */
static _Alignas(64) char child_stack[32 * 1024];

#if defined(__x86_64__)
/* The child comes out of the system call with our registers but on an empty stack, so it must not
 * return into this frame: it calls `child` at once. */
static long clone3_call(struct clone_args *arguments, int (*child)(void *), void *argument)
{
    long result = SYS_clone3;
    register void *function __asm__("r12") = (void *)(uintptr_t)child;
    register void *value __asm__("r13") = argument;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "hlt\n"
                     "1:"
                     : "+a"(result)
                     : "D"(arguments), "S"(sizeof *arguments), "r"(function), "r"(value)
                     : "rcx", "r11", "memory", "cc");
    return result;
}
#elif defined(__aarch64__)
static long clone3_call(struct clone_args *arguments, int (*child)(void *), void *argument)
{
    register long number __asm__("x8") = SYS_clone3;
    register long result __asm__("x0") = (long)arguments;
    register long size __asm__("x1") = sizeof *arguments;
    register void *function __asm__("x19") = (void *)(uintptr_t)child;
    register void *value __asm__("x20") = argument;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, xzr\n\t"
                     "mov x0, x20\n\t"
                     "blr x19\n\t"
                     "brk #0\n"
                     "1:"
                     : "+r"(result)
                     : "r"(number), "r"(size), "r"(function), "r"(value)
                     : "memory", "cc");
    return result;
}
#else
static long clone3_call(struct clone_args *arguments, int (*child)(void *), void *argument)
{
    (void)arguments, (void)child, (void)argument;
    return -ENOSYS;
}
#endif

pid_t clone_vfork(int (*child)(void *argument), void *argument, int cgroup, struct clone_done *done,
                  int *pidfd)
{
    int own_pidfd = -1;
    uint64_t flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | (pidfd != NULL ? CLONE_PIDFD : 0u);
    struct clone_args arguments = {
        .flags = flags | CLONE_CLEAR_SIGHAND | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0u),
        .pidfd = (uint64_t)(uintptr_t)&own_pidfd,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)child_stack,
        .stack_size = sizeof child_stack,
        .cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0,
    };
    *done = (struct clone_done){ .is_in_cgroup = cgroup >= 0, .has_no_handlers = true };
    long pid = clone3_call(&arguments, child, argument);
    /* Out of processes or memory: clone would say the same. */
    if (pid == -EAGAIN || pid == -ENOMEM) {
        errno = (int)-pid;
        return -1;
    }
    if (pid < 0) {
        *done = (struct clone_done){ 0 };
        pid = clone(child, child_stack + sizeof child_stack, (int)flags | SIGCHLD, argument,
                    &own_pidfd);
    }
    if (pid > 0 && pidfd != NULL)
        *pidfd = own_pidfd;
    return (pid_t)pid;
}
