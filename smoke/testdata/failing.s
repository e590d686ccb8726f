# exit(42). Built into failing_amd64.elf by:
#   as -o failing.o failing.s && ld -n -s -o failing_amd64.elf failing.o
.globl _start
_start:
	mov $60, %eax
	mov $42, %edi
	syscall
