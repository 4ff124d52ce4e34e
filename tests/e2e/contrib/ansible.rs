//! The role of `contrib/ansible-playbook`, tried with the real tools.
