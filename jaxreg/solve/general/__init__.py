"""The minimiser of any smooth loss plus a penalty."""
